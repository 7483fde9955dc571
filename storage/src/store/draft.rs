//! The tree as it will be: changes in memory, in new nodes that have their blocks already but are not written.
//!
//! A node that is on disk is never changed. Whatever is changed gets a new block, and so does every node above it, up to
//! the root; a node that is new already is changed in place. The checksums of new nodes are filled in at the end.

use super::Error;
use super::bytes::Key;
use super::checksum::{Checksums, Pointer};
use super::node::{Cell, Kind, MAX_LEVEL, Node, ROOM};
use super::shared::Shared;
use super::space::{Retired, Space};
use super::superblock::Superblock;
use super::tree::{Dirty, Step, Target, View};
use crate::BlockDevice;
use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use alloc::vec::Vec;

/// A tree that is not on disk yet. Dropped, its new blocks are given back.
#[derive(Debug)]
pub(super) struct Draft {
    space: Space,
    root: Pointer,
    pub(super) dirty: Dirty,
    /// What is on disk and not needed any more.
    pub(super) retired: Vec<Retired>,
    /// New blocks that are not needed any more.
    dropped: Vec<u64>,
    /// Blocks of the nodes that [`seal`](Self::seal) gave.
    sealed: Vec<u64>,
    pub(super) entries: u64,
    pub(super) used: u64,
    /// Whether the blocks that are kept back may be taken.
    pub(super) only_deletes: bool,
}

/// A draft as it was, to go back to.
#[derive(Debug)]
pub(super) struct Checkpoint {
    root: Pointer,
    dirty: Dirty,
    retired: usize,
    dropped: usize,
    entries: u64,
    used: u64,
}

/// A change of an inner node: `count` of its cells from `from` on go, and `children` come. The first of these keeps the
/// key that was there.
struct Change {
    from: usize,
    count: usize,
    children: Vec<(Key, Pointer)>,
}

impl Draft {
    pub(super) fn new(space: &Space, committed: &Superblock) -> Self {
        Self {
            space: space.clone(),
            root: committed.root,
            dirty: Dirty::new(),
            retired: Vec::new(),
            dropped: Vec::new(),
            sealed: Vec::new(),
            entries: committed.entries,
            used: committed.used,
            only_deletes: false,
        }
    }

    pub(super) fn view(&self) -> View<'_> {
        View {
            root: self.root,
            dirty: Some(&self.dirty),
        }
    }

    /// Where it begins: the checksum is not known before all is written.
    pub(super) fn root(&self) -> Pointer {
        self.root
    }

    pub(super) fn checkpoint(&self) -> Checkpoint {
        Checkpoint {
            root: self.root,
            dirty: self.dirty.clone(),
            retired: self.retired.len(),
            dropped: self.dropped.len(),
            entries: self.entries,
            used: self.used,
        }
    }

    pub(super) fn go_back(&mut self, to: Checkpoint) {
        let now = core::mem::replace(&mut self.dirty, to.dirty);
        let dropped = self.dropped.drain(to.dropped..);
        for block in now.into_keys().chain(dropped) {
            if !self.dirty.contains_key(&block) {
                self.space.release_node(block);
            }
        }
        self.retired.truncate(to.retired);
        (self.root, self.entries, self.used) = (to.root, to.entries, to.used);
    }

    /// Whether it is what is on disk.
    pub(super) fn is_clean(&self) -> bool {
        self.dirty.is_empty() && self.retired.is_empty()
    }

    /// Puts a new node where the node in `old` was, if there was one, and says where it is.
    fn place(&mut self, old: Option<u64>, node: Node) -> Result<Pointer, Error> {
        let block = match old {
            Some(old) if self.dirty.contains_key(&old) => old,
            _ => {
                let block = self.space.allocate_node(self.only_deletes)?;
                self.used += 1;
                block
            }
        };
        self.dirty.insert(block, Rc::new(node));
        if let Some(old) = old.filter(|&old| old != block) {
            self.discard(old)?;
        }
        Ok(Pointer { block, checksum: 0 })
    }

    /// The node in `block` is not needed any more.
    fn discard(&mut self, block: u64) -> Result<(), Error> {
        self.dropped
            .try_reserve(1)
            .map_err(|_| Error::OutOfMemory)?;
        self.retired
            .try_reserve(1)
            .map_err(|_| Error::OutOfMemory)?;
        self.used = self.used.saturating_sub(1);
        match self.dirty.remove(&block) {
            Some(_) => self.dropped.push(block),
            None => self.retired.push(Retired::Node(block)),
        }
        Ok(())
    }

    /// Makes one node of `cells`, or two if there is too much for one, in the place of the node in `old`. Where what is
    /// added is always the last, the first of two is left full.
    fn build(
        &mut self,
        level: u16,
        cells: &mut [Cell<'_>],
        old: Option<u64>,
        appends: bool,
    ) -> Result<Vec<(Key, Pointer)>, Error> {
        if let Some(first) = cells.first_mut().filter(|_| level > 0) {
            first.key = &[];
        }
        let total: usize = cells.iter().map(Cell::len).sum();
        let split = if total <= ROOM {
            cells.len()
        } else {
            split(cells, total, appends)
        };
        let (left, right) = cells.split_at(split);
        let mut children = Vec::new();
        children
            .try_reserve_exact(2)
            .map_err(|_| Error::OutOfMemory)?;
        let mut old = old;
        for cells in [left, right] {
            if let Some(node) = Node::build(level, cells)? {
                let key = cells
                    .first()
                    .map_or(Key::new(&[]), |cell| Key::new(cell.key));
                children.push((key, self.place(old.take(), node)?));
            }
        }
        if let Some(old) = old {
            self.discard(old)?;
        }
        Ok(children)
    }

    /// Puts `rest`, made by [`item`](super::node::item), under `key`.
    pub(super) async fn put<D: BlockDevice>(
        &mut self,
        shared: &Shared<D>,
        key: &[u8],
        rest: &[u8],
    ) -> Result<(), Error> {
        let mut way = shared.descend(self.view(), Target::At(key)).await?;
        let new = Cell { key, rest };
        let Some(leaf) = way.steps.pop() else {
            self.entries += 1;
            let children = self.build(0, &mut [new], None, false)?;
            return self.rebuild(shared, way.steps, None, children, false).await;
        };
        let mut cells = cells_of(&leaf.node, 1)?;
        let at = cells.partition_point(|cell| cell.key < key);
        match cells.get(at).copied().filter(|cell| cell.key == key) {
            Some(old) => {
                self.retire(shared, old, leaf.block).await?;
                cells[at] = new;
            }
            None => {
                cells.insert(at, new);
                self.entries += 1;
            }
        }
        let appends = way.high.is_none() && at + 1 == cells.len();
        let children = self.build(0, &mut cells, Some(leaf.block), appends)?;
        self.rebuild(shared, way.steps, Some(&leaf), children, appends)
            .await
    }

    /// Deletes `key`, and says whether it was there.
    pub(super) async fn delete<D: BlockDevice>(
        &mut self,
        shared: &Shared<D>,
        key: &[u8],
    ) -> Result<bool, Error> {
        let mut way = shared.descend(self.view(), Target::At(key)).await?;
        let Some(leaf) = way.steps.pop() else {
            return Ok(false);
        };
        let mut cells = cells_of(&leaf.node, 0)?;
        let at = cells.partition_point(|cell| cell.key < key);
        if cells.get(at).is_none_or(|cell| cell.key != key) {
            return Ok(false);
        }
        let old = cells.remove(at);
        self.retire(shared, old, leaf.block).await?;
        self.entries = self.entries.saturating_sub(1);
        let children = self.build(0, &mut cells, Some(leaf.block), false)?;
        self.rebuild(shared, way.steps, Some(&leaf), children, false)
            .await?;
        Ok(true)
    }

    /// Whether there is `key`.
    pub(super) async fn has<D: BlockDevice>(
        &self,
        shared: &Shared<D>,
        key: &[u8],
    ) -> Result<bool, Error> {
        let way = shared.descend(self.view(), Target::At(key)).await?;
        Ok(way
            .steps
            .last()
            .is_some_and(|leaf| leaf.node.cells().any(|cell| cell.key == key)))
    }

    /// The blob of a cell that goes away is not needed any more.
    async fn retire<D: BlockDevice>(
        &mut self,
        shared: &Shared<D>,
        cell: Cell<'_>,
        leaf: u64,
    ) -> Result<(), Error> {
        let item = cell.item().ok_or(Error::Corrupt {
            what: Kind::Node(0).name(),
            block: leaf,
        })?;
        if let Some(content) = item.content {
            let extents = shared.extents_of(content).await?;
            let blocks = extents.iter().map(|extent| extent.blocks).sum();
            self.used = self.used.saturating_sub(blocks);
            self.retired
                .try_reserve(1)
                .map_err(|_| Error::OutOfMemory)?;
            self.retired.push(Retired::Blob(extents));
        }
        Ok(())
    }

    /// Goes up from where `children` came into the place of `old`, and makes the nodes above anew. `steps` lead to it.
    async fn rebuild<D: BlockDevice>(
        &mut self,
        shared: &Shared<D>,
        mut steps: Vec<Step>,
        old: Option<&Step>,
        mut children: Vec<(Key, Pointer)>,
        appends: bool,
    ) -> Result<(), Error> {
        let mut level = old.map_or(0, |old| old.node.level());
        let mut old = old.map(|old| (old.block, old.node.used()));
        while let Some(parent) = steps.pop() {
            let mut change = Change {
                from: parent.index,
                count: 1,
                children,
            };
            if let (&[(_, child)], Some((_, used))) = (&change.children[..], old) {
                change = self
                    .merge(shared, &parent, child, used)
                    .await?
                    .unwrap_or(change);
            }
            if let (&[(_, child)], 1) = (&change.children[..], change.count)
                && old.is_some_and(|(block, _)| block == child.block)
            {
                // It was new already, so all above it is too and points to it.
                return Ok(());
            }
            let pointers: Vec<_> = change
                .children
                .iter()
                .map(|(_, at)| at.to_bytes())
                .collect();
            let mut cells = cells_of(&parent.node, 1)?;
            let kept = cells[change.from].key;
            let new = change.children.iter().zip(&pointers).enumerate();
            let new = new.map(|(index, ((key, _), rest))| Cell {
                key: if index == 0 { kept } else { key },
                rest,
            });
            cells.splice(change.from..change.from + change.count, new);
            level = parent.node.level();
            old = Some((parent.block, parent.node.used()));
            children = self.build(level, &mut cells, Some(parent.block), appends)?;
        }
        self.root = match children[..] {
            [] => Pointer::NONE,
            [(_, only)] => only,
            [..] => {
                if level >= MAX_LEVEL {
                    return Err(Error::Full);
                }
                let pointers: Vec<_> = children.iter().map(|(_, at)| at.to_bytes()).collect();
                let mut cells: Vec<_> = (children.iter().zip(&pointers))
                    .map(|((key, _), rest)| Cell { key, rest })
                    .collect();
                let root = self.build(level + 1, &mut cells, None, false)?;
                root.first().map_or(Pointer::NONE, |(_, root)| *root)
            }
        };
        self.lower_root(shared).await
    }

    /// Joins `child`, which had `used` bytes of items before, with the node beside it if it has become small and both fit
    /// into one: so any two neighbours are more than one node.
    async fn merge<D: BlockDevice>(
        &mut self,
        shared: &Shared<D>,
        parent: &Step,
        child: Pointer,
        used: usize,
    ) -> Result<Option<Change>, Error> {
        let Some(node) = self.dirty.get(&child.block).map(Rc::clone) else {
            return Ok(None);
        };
        if node.used() >= used || node.used() > ROOM / 2 || parent.node.count() < 2 {
            return Ok(None);
        }
        let level = node.level();
        let from = parent.index.min(parent.node.count() - 2);
        let beside = if from == parent.index { from + 1 } else { from };
        let (Some(beside_cell), Some(right_cell)) = (
            parent.node.cells().nth(beside),
            parent.node.cells().nth(from + 1),
        ) else {
            return Ok(None);
        };
        let corrupt = Error::Corrupt {
            what: Kind::Node(level + 1).name(),
            block: parent.block,
        };
        let at = beside_cell.pointer().ok_or(corrupt)?;
        let other = shared.fetch(self.view(), at, Kind::Node(level)).await?;
        let (left, right) = if beside > from {
            (&node, &other)
        } else {
            (&other, &node)
        };
        let mut cells = cells_of(left, right.count())?;
        let middle = cells.len();
        cells.extend(right.cells());
        if let Some(first) = cells.get_mut(middle).filter(|_| level > 0) {
            first.key = right_cell.key;
        }
        if cells.iter().map(Cell::len).sum::<usize>() > ROOM {
            return Ok(None);
        }
        let children = self.build(level, &mut cells, Some(child.block), false)?;
        self.discard(at.block)?;
        Ok(Some(Change {
            from,
            count: 2,
            children,
        }))
    }

    /// While the root has one child alone, that is the root.
    async fn lower_root<D: BlockDevice>(&mut self, shared: &Shared<D>) -> Result<(), Error> {
        while self.root.block != 0 {
            let root = shared.fetch(self.view(), self.root, Kind::Root).await?;
            if root.level() == 0 || root.count() > 1 {
                break;
            }
            let what = Kind::Root.name();
            let corrupt = Error::Corrupt {
                what,
                block: self.root.block,
            };
            let child = root
                .cells()
                .next()
                .and_then(|cell| cell.pointer())
                .ok_or(corrupt)?;
            self.discard(self.root.block)?;
            self.root = child;
        }
        Ok(())
    }

    /// Fills in the checksums, the lowest level first. Gives the new nodes, in the order of their blocks.
    pub(super) fn seal(&mut self, checksums: Checksums) -> Result<Vec<(Pointer, Node)>, Error> {
        let mut sealed: BTreeMap<u64, u64> = BTreeMap::new();
        let mut nodes = Vec::new();
        nodes
            .try_reserve_exact(self.dirty.len())
            .map_err(|_| Error::OutOfMemory)?;
        self.sealed
            .try_reserve_exact(self.dirty.len())
            .map_err(|_| Error::OutOfMemory)?;
        for (block, node) in core::mem::take(&mut self.dirty) {
            self.sealed.push(block);
            let node = Rc::try_unwrap(node).or_else(|shared| shared.duplicate())?;
            nodes.push((Pointer { block, checksum: 0 }, node));
        }
        nodes.sort_by_key(|(_, node)| node.level());
        for (at, node) in &mut nodes {
            let places: Vec<_> = if node.level() > 0 {
                node.pointers().collect()
            } else {
                Vec::new()
            };
            for place in places {
                if let Some(checksum) = node.pointer(&place).and_then(|to| sealed.get(&to.block)) {
                    node.set_checksum(&place, *checksum);
                }
            }
            at.checksum = checksums.of(at.block, node.bytes());
            sealed.insert(at.block, at.checksum);
        }
        if let Some(&checksum) = sealed.get(&self.root.block) {
            self.root.checksum = checksum;
        }
        nodes.sort_by_key(|(at, _)| at.block);
        Ok(nodes)
    }

    /// It is on disk. Gives what is not needed any more.
    pub(super) fn publish(mut self) -> Vec<Retired> {
        self.sealed.clear();
        core::mem::take(&mut self.retired)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        for &block in self.dirty.keys().chain(&self.dropped).chain(&self.sealed) {
            self.space.release_node(block);
        }
    }
}

/// The cells of `node`, with room for `more`.
fn cells_of(node: &Node, more: usize) -> Result<Vec<Cell<'_>>, Error> {
    let mut cells = Vec::new();
    cells
        .try_reserve_exact(node.count() + more)
        .map_err(|_| Error::OutOfMemory)?;
    cells.extend(node.cells());
    Ok(cells)
}

/// Where to split `cells`, of `total` bytes, so that both parts fit: in the middle, or as far to the end as can be.
fn split(cells: &[Cell<'_>], total: usize, appends: bool) -> usize {
    let mut best = (usize::MAX, 1);
    let mut left = 0;
    for (index, cell) in (1..cells.len()).zip(cells) {
        left += cell.len();
        let right = total - left;
        if appends && left <= ROOM && index + 1 == cells.len() {
            return index;
        }
        best = best.min((left.max(right), index));
    }
    best.1
}
