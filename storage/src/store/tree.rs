//! Finding things in the tree: a B+tree whose nodes are never changed on disk, only written anew elsewhere.

use super::bytes::Key;
use super::checksum::Pointer;
use super::node::{Cell, Kind, Node};
use super::shared::Shared;
use super::{Entry, Error};
use crate::BlockDevice;
use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::ops::Bound;

/// Nodes that are not on disk yet, by the blocks they will go to.
pub(super) type Dirty = BTreeMap<u64, Rc<Node>>;

/// A tree: where it begins, and what of it is in memory only.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    pub(super) root: Pointer,
    pub(super) dirty: Option<&'a Dirty>,
}

/// Which leaf is looked for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target<'a> {
    /// The one that has this key, if there is one.
    At(&'a [u8]),
    /// The one that has the greatest key below this one.
    Before(&'a [u8]),
    /// The last.
    Last,
}

/// One node on the way down.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) block: u64,
    pub(super) node: Rc<Node>,
    /// Of an inner node, which of its cells the way goes through.
    pub(super) index: usize,
}

/// The way to a leaf, which is last, and the keys that bound it: from `low` to below `high`.
#[derive(Clone, Debug)]
pub(super) struct Way {
    pub(super) steps: Vec<Step>,
    pub(super) low: Option<Key>,
    pub(super) high: Option<Key>,
}

/// Whether the keys of `node` are from `low` to below `high`. An inner node's first key is empty, which is below all.
pub(super) fn is_within(node: &Node, low: Option<&Key>, high: Option<&Key>) -> bool {
    let Some((first, last)) = node.keys() else {
        return false;
    };
    let from = first.is_empty() || low.is_none_or(|low| first >= &low[..]);
    from && high.is_none_or(|high| last < &high[..])
}

impl<D: BlockDevice> Shared<D> {
    /// The node that `at` points to in `view`.
    pub(super) async fn fetch(
        &self,
        view: View<'_>,
        at: Pointer,
        kind: Kind,
    ) -> Result<Rc<Node>, Error> {
        match view.dirty.and_then(|dirty| dirty.get(&at.block)) {
            Some(node) => Ok(Rc::clone(node)),
            None => self.load(at, kind).await,
        }
    }

    /// The way down to a leaf. It has no steps if the tree is empty.
    pub(super) async fn descend(&self, view: View<'_>, target: Target<'_>) -> Result<Way, Error> {
        let mut way = Way {
            steps: Vec::new(),
            low: None,
            high: None,
        };
        if view.root.block == 0 {
            return Ok(way);
        }
        way.steps.try_reserve(4).map_err(|_| Error::OutOfMemory)?;
        let (mut at, mut kind) = (view.root, Kind::Root);
        loop {
            let node = self.fetch(view, at, kind).await?;
            let corrupt = Error::Corrupt {
                what: kind.name(),
                block: at.block,
            };
            let is_expected = match kind {
                Kind::Node(level) => node.level() == level,
                _ => true,
            };
            if !is_expected || !is_within(&node, way.low.as_ref(), way.high.as_ref()) {
                return Err(corrupt);
            }
            let level = node.level();
            let mut index = 0;
            if level > 0 {
                let mut chosen: Option<Cell<'_>> = None;
                let mut next = None;
                for cell in node.cells() {
                    let before = chosen.is_none()
                        || match target {
                            Target::At(key) => cell.key <= key,
                            Target::Before(key) => cell.key < key,
                            Target::Last => true,
                        };
                    if !before {
                        next = Some(cell);
                        break;
                    }
                    index += usize::from(chosen.is_some());
                    chosen = Some(cell);
                }
                if index > 0 {
                    way.low = chosen.map(|cell| Key::new(cell.key));
                }
                way.high = next.map(|cell| Key::new(cell.key)).or(way.high);
                kind = Kind::Node(level - 1);
                let block = at.block;
                at = chosen.and_then(|cell| cell.pointer()).ok_or(corrupt)?;
                way.steps.push(Step { block, node, index });
            } else {
                way.steps.push(Step {
                    block: at.block,
                    node,
                    index,
                });
                return Ok(way);
            }
        }
    }

    /// The first `limit` entries in `range`.
    pub(super) async fn entries(
        &self,
        view: View<'_>,
        range: (Bound<&[u8]>, Bound<&[u8]>),
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Entry)>, Error> {
        let mut found = Vec::new();
        let mut from = Key::new(match range.0 {
            Bound::Included(key) | Bound::Excluded(key) => key,
            Bound::Unbounded => &[],
        });
        while found.len() < limit {
            let way = self.descend(view, Target::At(&from)).await?;
            let Some(leaf) = way.steps.last() else { break };
            for cell in leaf.node.cells() {
                let is_after = match range.0 {
                    Bound::Included(low) => cell.key >= low,
                    Bound::Excluded(low) => cell.key > low,
                    Bound::Unbounded => true,
                };
                if is_above(cell.key, range.1) || found.len() == limit {
                    return Ok(found);
                }
                if is_after {
                    found.try_reserve(1).map_err(|_| Error::OutOfMemory)?;
                    found.push(entry(cell, leaf.block)?);
                }
            }
            // The next leaf begins where this one ends.
            match way.high {
                Some(high) => from = high,
                None => break,
            }
        }
        Ok(found)
    }

    /// The last entry in `range`.
    pub(super) async fn last_entry(
        &self,
        view: View<'_>,
        range: (Bound<&[u8]>, Bound<&[u8]>),
    ) -> Result<Option<(Vec<u8>, Entry)>, Error> {
        let mut way = match range.1 {
            Bound::Included(key) => self.descend(view, Target::At(key)).await?,
            Bound::Excluded(key) => self.descend(view, Target::Before(key)).await?,
            Bound::Unbounded => self.descend(view, Target::Last).await?,
        };
        loop {
            let Some(leaf) = way.steps.last() else {
                return Ok(None);
            };
            if let Some(cell) = leaf
                .node
                .cells()
                .take_while(|cell| !is_above(cell.key, range.1))
                .last()
            {
                let is_in = match range.0 {
                    Bound::Included(low) => cell.key >= low,
                    Bound::Excluded(low) => cell.key > low,
                    Bound::Unbounded => true,
                };
                return is_in.then(|| entry(cell, leaf.block)).transpose();
            }
            let Some(low) = way.low else { return Ok(None) };
            way = self.descend(view, Target::Before(&low)).await?;
        }
    }
}

/// Whether `key` is beyond the end of a range.
fn is_above(key: &[u8], end: Bound<&[u8]>) -> bool {
    match end {
        Bound::Included(high) => key > high,
        Bound::Excluded(high) => key >= high,
        Bound::Unbounded => false,
    }
}

/// A copy of `bytes`.
pub(super) fn copied(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let mut copy = Vec::new();
    copy.try_reserve_exact(bytes.len())
        .map_err(|_| Error::OutOfMemory)?;
    copy.extend_from_slice(bytes);
    Ok(copy)
}

/// What a cell of the leaf in `block` says.
pub(super) fn entry(cell: Cell<'_>, block: u64) -> Result<(Vec<u8>, Entry), Error> {
    let item = cell.item().ok_or(Error::Corrupt {
        what: Kind::Node(0).name(),
        block,
    })?;
    let entry = Entry {
        value: copied(item.value)?,
        blob_bytes: item.content.map(|content| content.len),
    };
    Ok((copied(cell.key)?, entry))
}
