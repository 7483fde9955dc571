//! Blocks of metadata that were read, validated and may be needed again. Bounded; which go is decided by a clock.

use super::BLOCK;
use super::checksum::Pointer;
use super::node::Node;
use alloc::collections::BTreeMap;
use alloc::rc::Rc;

#[derive(Debug)]
struct Slot {
    checksum: u64,
    node: Rc<Node>,
    used: bool,
}

/// By block number. A block that was written anew has another checksum, so what was there before is not found.
#[derive(Debug)]
pub(super) struct Cache {
    slots: BTreeMap<u64, Slot>,
    limit: usize,
    /// The clock's hand: the slots before it were asked last.
    hand: u64,
}

impl Cache {
    /// A cache of up to `bytes`, of a few blocks at least.
    pub(super) fn new(bytes: usize) -> Self {
        Self {
            slots: BTreeMap::new(),
            limit: (bytes / BLOCK).max(8),
            hand: 0,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.slots.len() * BLOCK
    }

    pub(super) fn get(&mut self, at: Pointer) -> Option<Rc<Node>> {
        let slot = self.slots.get_mut(&at.block)?;
        if slot.checksum != at.checksum {
            return None;
        }
        slot.used = true;
        Some(Rc::clone(&slot.node))
    }

    pub(super) fn insert(&mut self, at: Pointer, node: Rc<Node>) {
        let slot = Slot {
            checksum: at.checksum,
            node,
            used: false,
        };
        if self.slots.insert(at.block, slot).is_none() && self.slots.len() > self.limit {
            self.evict(at.block);
        }
    }

    /// Removes the next one that was not used since the hand passed, but for `new`. Two rounds are enough to find one.
    fn evict(&mut self, new: u64) {
        for _ in 0..=2 * self.slots.len() {
            let Some((&block, slot)) = self.slots.range_mut(self.hand..).next() else {
                self.hand = 0;
                continue;
            };
            self.hand = block.saturating_add(1);
            if block != new && !core::mem::take(&mut slot.used) {
                self.slots.remove(&block);
                return;
            }
        }
    }
}
