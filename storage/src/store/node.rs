//! Blocks of metadata: the tree's nodes, and what describes blobs. Parsed and validated once, when they are read; what is
//! not exactly what this code writes is refused.
//!
//! ```text
//!    0  kind: "leaf" "tree" "runs" "sums"     6  count (u16)
//!    4  level (u16), 0 but for "tree"         8  zeros                16  `count` items, then zeros
//!
//!    leaf  key length (u8), key, value length (u16), value, blob: see `blob/layout.rs`     keys ascend
//!    tree  key length (u8), key, pointer                        the first key is empty: it is below all others
//!    runs  pointer to the next "runs" (block 0: none), then runs                    a blob's runs, if they are many
//!    sums  checksums (u64)                                            the first block of a run: of the other blocks
//! ```

use super::BLOCK;
use super::blob::layout::{Content, Run};
use super::bytes::Reader;
use super::checksum::Pointer;
use super::superblock::ENDS;
use super::{Error, MAX_KEY, MAX_VALUE};
use alloc::vec::Vec;
use core::ops::Range;
use xenlet_kernel::page::Page;

/// Bytes before the items.
pub(super) const HEADER: usize = 16;

/// Bytes for items.
pub(super) const ROOM: usize = BLOCK - HEADER;

/// The level of the highest root. A tree of it would be larger than any disk.
pub(super) const MAX_LEVEL: u16 = 15;

/// What a block of metadata is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A node of the tree whose level is known from its parent: 0 is a leaf.
    Node(u16),
    /// The root, of any level.
    Root,
    Runs,
    Sums,
}

impl Kind {
    /// What to call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Node(0) => "a leaf of the tree",
            Self::Node(_) => "a node of the tree",
            Self::Root => "the tree's root",
            Self::Runs => "a list of a blob's runs",
            Self::Sums => "the checksums of a blob's run",
        }
    }
}

/// A valid block of metadata.
#[derive(Debug)]
pub(super) struct Node {
    page: Page,
    shape: Shape,
}

/// What is known of a valid block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    level: u16,
    count: u16,
    /// Where the items end.
    end: usize,
    /// Where the last item begins.
    last: usize,
}

/// One item of a leaf or of an inner node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cell<'a> {
    pub(super) key: &'a [u8],
    /// What follows the key: of a leaf, an [`Item`]; of an inner node, a pointer.
    pub(super) rest: &'a [u8],
}

/// What a leaf's cell says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item<'a> {
    pub(super) value: &'a [u8],
    pub(super) content: Option<Content<'a>>,
}

impl<'a> Item<'a> {
    fn read(reader: &mut Reader<'a>) -> Option<Self> {
        let len = usize::from(reader.u16()?);
        if len > MAX_VALUE {
            return None;
        }
        Some(Self {
            value: reader.take(len)?,
            content: Content::read(reader)?,
        })
    }
}

impl<'a> Cell<'a> {
    fn read(reader: &mut Reader<'a>, level: u16) -> Option<Self> {
        let len = usize::from(reader.u8()?);
        let key = reader.take(len)?;
        let begin = reader.0;
        if level == 0 {
            Item::read(reader)?;
        } else {
            Pointer::read(reader)?;
        }
        let rest = begin.get(..begin.len() - reader.0.len())?;
        Some(Self { key, rest })
    }

    /// Bytes on disk.
    pub(super) fn len(&self) -> usize {
        1 + self.key.len() + self.rest.len()
    }

    /// What the cell of a leaf says.
    pub(super) fn item(&self) -> Option<Item<'a>> {
        Item::read(&mut Reader(self.rest))
    }

    /// Where the cell of an inner node points.
    pub(super) fn pointer(&self) -> Option<Pointer> {
        Pointer::read(&mut Reader(self.rest))
    }
}

impl Node {
    /// Validates what was read as `kind`, on a store of `blocks` blocks. Its checksum was right, so what is wrong was
    /// written so.
    pub(super) fn parse(page: Page, kind: Kind, blocks: u64) -> Option<Self> {
        let mut reader = Reader(&page[..]);
        let tag = reader.take(4)?;
        let level = reader.u16()?;
        let count = reader.u16()?;
        let fits = match kind {
            Kind::Node(0) => tag == b"leaf" && level == 0,
            Kind::Node(expected) => tag == b"tree" && level == expected,
            Kind::Root if level == 0 => tag == b"leaf",
            Kind::Root => tag == b"tree" && level <= MAX_LEVEL,
            Kind::Runs => tag == b"runs" && level == 0,
            Kind::Sums => tag == b"sums" && level == 0,
        };
        if !fits || count == 0 || reader.u64()? != 0 {
            return None;
        }
        let items = reader.0;
        let mut last = HEADER;
        match kind {
            Kind::Node(_) | Kind::Root => {
                let mut before: Option<&[u8]> = None;
                for _ in 0..count {
                    last = BLOCK - reader.0.len();
                    let cell = Cell::read(&mut reader, level)?;
                    let sound = match level {
                        0 => !cell.key.is_empty() && cell.item()?.is_sound(blocks),
                        _ => {
                            // Only the first key is empty.
                            cell.key.is_empty() == before.is_none()
                                && is_inside(cell.pointer()?.block, 1, blocks)
                        }
                    };
                    if !sound || before.is_some_and(|before| before >= cell.key) {
                        return None;
                    }
                    before = Some(cell.key);
                }
            }
            Kind::Runs => {
                let next = Pointer::read(&mut reader)?;
                let none = next == Pointer::NONE;
                if !none && !is_inside(next.block, 1, blocks) {
                    return None;
                }
                for _ in 0..count {
                    if !Run::read(&mut reader)?.is_sound(blocks) {
                        return None;
                    }
                }
            }
            Kind::Sums => {
                reader.take(usize::from(count) * 8)?;
            }
        }
        if !reader.rest_is_zero() {
            return None;
        }
        let end = HEADER + items.len() - reader.0.len();
        let shape = Shape {
            level,
            count,
            end,
            last,
        };
        Some(Self { page, shape })
    }

    /// A node of the tree with these cells, which fit; of an inner one, the first key is left out. `None` if there are none.
    pub(super) fn build(level: u16, cells: &[Cell<'_>]) -> Result<Option<Self>, Error> {
        let mut page = Page::new().map_err(|_| Error::OutOfMemory)?;
        let Ok(count) = u16::try_from(cells.len()) else {
            return Err(Error::Full);
        };
        if count == 0 {
            return Ok(None);
        }
        page[..4].copy_from_slice(if level == 0 { b"leaf" } else { b"tree" });
        page[4..6].copy_from_slice(&level.to_le_bytes());
        page[6..8].copy_from_slice(&count.to_le_bytes());
        let (mut end, mut last) = (HEADER, HEADER);
        for (index, cell) in cells.iter().enumerate() {
            last = end;
            let key = if level > 0 && index == 0 {
                &[]
            } else {
                cell.key
            };
            for part in [
                &[u8::try_from(key.len()).unwrap_or(u8::MAX)][..],
                key,
                cell.rest,
            ] {
                page[end..end + part.len()].copy_from_slice(part);
                end += part.len();
            }
        }
        let shape = Shape {
            level,
            count,
            end,
            last,
        };
        Ok(Some(Self { page, shape }))
    }

    /// A block of other items than cells.
    pub(super) fn build_list<const N: usize>(
        tag: &[u8; 4],
        next: Option<Pointer>,
        items: impl Iterator<Item = [u8; N]>,
    ) -> Result<Page, Error> {
        let mut page = Page::new().map_err(|_| Error::OutOfMemory)?;
        page[..4].copy_from_slice(tag);
        let mut end = HEADER;
        if let Some(next) = next {
            page[end..end + Pointer::LEN].copy_from_slice(&next.to_bytes());
            end += Pointer::LEN;
        }
        let mut count = 0_u16;
        for item in items {
            page[end..end + N].copy_from_slice(&item);
            end += N;
            count += 1;
        }
        page[6..8].copy_from_slice(&count.to_le_bytes());
        Ok(page)
    }

    pub(super) fn level(&self) -> u16 {
        self.shape.level
    }

    /// How many items there are.
    pub(super) fn count(&self) -> usize {
        usize::from(self.shape.count)
    }

    /// Bytes of items.
    pub(super) fn used(&self) -> usize {
        self.shape.end - HEADER
    }

    /// All of it, as it is on disk.
    pub(super) fn bytes(&self) -> &[u8; BLOCK] {
        &self.page
    }

    /// Its page, which goes to the disk and comes back, and the rest.
    pub(super) fn into_parts(self) -> (Page, Shape) {
        (self.page, self.shape)
    }

    /// What [`into_parts`](Self::into_parts) gave.
    pub(super) fn from_parts(page: Page, shape: Shape) -> Self {
        Self { page, shape }
    }

    /// The same node again.
    pub(super) fn duplicate(&self) -> Result<Self, Error> {
        let mut page = Page::new().map_err(|_| Error::OutOfMemory)?;
        page.copy_from_slice(&self.page[..]);
        Ok(Self {
            page,
            shape: self.shape,
        })
    }

    /// The cells of a node of the tree.
    pub(super) fn cells(&self) -> impl Iterator<Item = Cell<'_>> {
        let mut reader = Reader(&self.page[HEADER..self.shape.end]);
        core::iter::from_fn(move || Cell::read(&mut reader, self.shape.level))
    }

    /// Its lowest and its highest key.
    pub(super) fn keys(&self) -> Option<(&[u8], &[u8])> {
        let first = self.cells().next()?;
        let last = Cell::read(
            &mut Reader(&self.page[self.shape.last..self.shape.end]),
            self.shape.level,
        )?;
        Some((first.key, last.key))
    }

    /// Where the pointers of an inner node are in it.
    pub(super) fn pointers(&self) -> impl Iterator<Item = Range<usize>> {
        let mut at = HEADER;
        self.cells().map(move |cell| {
            at += cell.len();
            at - Pointer::LEN..at
        })
    }

    /// The pointer that is at `place`.
    pub(super) fn pointer(&self, place: &Range<usize>) -> Option<Pointer> {
        Pointer::read(&mut Reader(self.page.get(place.clone())?))
    }

    /// Puts `checksum` into the pointer that is at `place`.
    pub(super) fn set_checksum(&mut self, place: &Range<usize>, checksum: u64) {
        self.page[place.start + 8..place.end].copy_from_slice(&checksum.to_le_bytes());
    }

    /// Of a list of runs: the pointer to the next, if there is one.
    pub(super) fn next(&self) -> Option<Pointer> {
        Pointer::read(&mut Reader(&self.page[HEADER..])).filter(|next| *next != Pointer::NONE)
    }

    /// Of a list of runs: the runs.
    pub(super) fn runs(&self) -> impl Iterator<Item = Run> {
        let mut reader =
            Reader(&self.page[HEADER + Pointer::LEN..self.shape.end.max(HEADER + Pointer::LEN)]);
        core::iter::from_fn(move || Run::read(&mut reader))
    }

    /// Of a run's first block: the checksum of the `index`th block after it.
    pub(super) fn sum(&self, index: usize) -> Option<u64> {
        let at = index.checked_mul(8)?;
        Reader(self.page[HEADER..self.shape.end].get(at..)?).u64()
    }
}

impl Item<'_> {
    fn is_sound(&self, blocks: u64) -> bool {
        self.content.is_none_or(|content| content.is_sound(blocks))
    }
}

/// Whether the `count` blocks from `block` on are between the superblocks of a store of `blocks` blocks.
pub(super) fn is_inside(block: u64, count: u64, blocks: u64) -> bool {
    block >= ENDS
        && block
            .checked_add(count)
            .is_some_and(|end| end <= blocks.saturating_sub(ENDS))
}

/// The bytes of a leaf's cell after its key.
pub(super) fn item(value: &[u8], content: &[u8]) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    bytes
        .try_reserve_exact(2 + value.len() + content.len())
        .map_err(|_| Error::OutOfMemory)?;
    let len = u16::try_from(value.len()).map_err(|_| Error::ValueLength(value.len()))?;
    bytes.extend_from_slice(&len.to_le_bytes());
    bytes.extend_from_slice(value);
    bytes.extend_from_slice(content);
    Ok(bytes)
}

/// The longest cell: what a node must have room for twice and more, so that a split always fits.
const LONGEST: usize = 1 + MAX_KEY + 2 + MAX_VALUE + super::blob::layout::MAX_CONTENT;
const _: () = assert!(LONGEST * 2 <= ROOM);
