//! All TCP connections of one interface: found by their four numbers, and queued when one has something to do.
//!
//! Everything is O(1) however many there are, but for the deadlines (O(log n)). Adding a connection is the one thing that
//! allocates, and it fails cleanly.

use super::connection::{Connection, Seat};
use super::hash::Key;
use super::packet::Flow;
use super::{instant, moment};
use alloc::collections::TryReserveError;
use alloc::vec::Vec;
use hashbrown::HashTable;
use smoltcp::time::Instant;
use xenlet_kernel::time::Deadlines;

/// Names a connection for as long as there is an application or a table that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Id {
    index: u32,
    generation: u32,
}

/// The end of a list.
const NONE: u32 = u32::MAX;

#[derive(Debug)]
struct Slot {
    generation: u32,
    connection: Option<Connection>,
    /// Whether it is in the queue; if so, or if the slot is free, what comes after it.
    queued: bool,
    next: u32,
    /// Whether the flow leads here.
    mapped: bool,
}

/// The connections.
#[derive(Debug)]
pub(crate) struct Table {
    slots: Vec<Slot>,
    free: u32,
    flows: HashTable<u32>,
    key: Key,
    deadlines: Deadlines,
    /// First and last of the connections with something to do.
    queue: (u32, u32),
    len: usize,
    /// Sockets of connections that have ended.
    spares: Vec<Seat>,
    /// Bytes of their buffers.
    spare_bytes: usize,
}

/// Most sockets that are kept for the next connections.
const SPARES: usize = 32;

impl Table {
    /// No connections.
    pub(crate) fn new(key: Key) -> Self {
        Self {
            slots: Vec::new(),
            free: NONE,
            flows: HashTable::new(),
            key,
            deadlines: Deadlines::new(),
            queue: (NONE, NONE),
            len: 0,
            spares: Vec::new(),
            spare_bytes: 0,
        }
    }

    /// How many connections there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Finds the connection that a segment belongs to.
    pub(crate) fn find(&self, flow: &Flow) -> Option<Id> {
        let slots = &self.slots;
        let is_it = |&index: &u32| {
            slots[index as usize]
                .connection
                .as_ref()
                .is_some_and(|c| c.flow == *flow)
        };
        let index = *self.flows.find(self.key.hash(flow), is_it)?;
        Some(self.id(index))
    }

    /// Adds a connection whose flow has none.
    ///
    /// # Errors
    /// When there is no memory.
    pub(crate) fn insert(&mut self, connection: Connection) -> Result<Id, TryReserveError> {
        if self.free == NONE {
            self.slots.try_reserve(1)?;
            self.deadlines.reserve(self.slots.len() + 1)?;
        }
        self.flows
            .try_reserve(1, hasher(&self.slots, self.key))
            .map_err(|_| no_memory())?;
        let hash = self.key.hash(&connection.flow);
        let index = self.place(connection);
        self.flows
            .insert_unique(hash, index, hasher(&self.slots, self.key));
        self.len += 1;
        Ok(self.id(index))
    }

    #[allow(
        clippy::cast_possible_truncation,
        reason = "4 billion connections do not fit in any memory"
    )]
    fn place(&mut self, connection: Connection) -> u32 {
        if self.free == NONE {
            let slot = Slot {
                generation: 0,
                connection: Some(connection),
                queued: false,
                next: NONE,
                mapped: true,
            };
            self.slots.push(slot);
            return self.slots.len() as u32 - 1;
        }
        let index = self.free;
        let slot = &mut self.slots[index as usize];
        self.free = slot.next;
        slot.connection = Some(connection);
        slot.mapped = true;
        index
    }

    /// The connection, if it has not been removed.
    pub(crate) fn get(&self, id: Id) -> Option<&Connection> {
        let slot = self.slots.get(id.index as usize)?;
        slot.connection
            .as_ref()
            .filter(|_| slot.generation == id.generation)
    }

    /// The connection, if it has not been removed.
    pub(crate) fn get_mut(&mut self, id: Id) -> Option<&mut Connection> {
        let slot = self.slots.get_mut(id.index as usize)?;
        slot.connection
            .as_mut()
            .filter(|_| slot.generation == id.generation)
    }

    /// Lets the flow be another connection's. The connection stays, for the application that has it.
    pub(crate) fn unmap(&mut self, id: Id) {
        let Some(flow) = self.get(id).map(|connection| connection.flow) else {
            return;
        };
        if core::mem::take(&mut self.slots[id.index as usize].mapped)
            && let Ok(entry) = self
                .flows
                .find_entry(self.key.hash(&flow), |&index| index == id.index)
        {
            entry.remove();
        }
    }

    /// Removes a connection.
    pub(crate) fn remove(&mut self, id: Id) {
        if self.get(id).is_none() {
            return;
        }
        self.unmap(id);
        self.deadlines.remove(id.index);
        let slot = &mut self.slots[id.index as usize];
        if let Some(connection) = slot.connection.take()
            && self.spares.len() < SPARES
            && self.spares.try_reserve(1).is_ok()
        {
            let spare = connection.into_seat();
            self.spare_bytes += spare.bytes();
            self.spares.push(spare);
        }
        slot.generation = slot.generation.wrapping_add(1);
        self.len -= 1;
        // A queued slot is freed when the queue comes to it.
        if !slot.queued {
            slot.next = self.free;
            self.free = id.index;
        }
    }

    /// A socket of a connection that has ended.
    pub(crate) fn spare(&mut self) -> Option<Seat> {
        let spare = self.spares.pop()?;
        self.spare_bytes -= spare.bytes();
        Some(spare)
    }

    /// Bytes of the buffers of all such sockets.
    pub(crate) fn spare_bytes(&self) -> usize {
        self.spare_bytes
    }

    /// Gives back the memory that is kept for the next connections.
    pub(crate) fn forget_spares(&mut self) {
        self.spares.clear();
        self.spare_bytes = 0;
    }

    /// Puts a connection at the end of the queue, if it is not in it.
    pub(crate) fn enqueue(&mut self, id: Id) {
        if self.get(id).is_none() {
            return;
        }
        let slot = &mut self.slots[id.index as usize];
        if core::mem::replace(&mut slot.queued, true) {
            return;
        }
        slot.next = NONE;
        match self.queue {
            (NONE, _) => self.queue = (id.index, id.index),
            (first, last) => {
                self.slots[last as usize].next = id.index;
                self.queue = (first, id.index);
            }
        }
    }

    /// Takes the first connection out of the queue.
    pub(crate) fn dequeue(&mut self) -> Option<Id> {
        loop {
            let index = self.queue.0;
            if index == NONE {
                return None;
            }
            let slot = &mut self.slots[index as usize];
            slot.queued = false;
            self.queue.0 = slot.next;
            if slot.connection.is_some() {
                return Some(self.id(index));
            }
            slot.next = self.free;
            self.free = index;
        }
    }

    /// Sees to it that the connection is queued at `deadline` at the latest.
    pub(crate) fn no_later_than(&mut self, id: Id, deadline: Instant) {
        if self.get(id).is_some() {
            self.deadlines.no_later_than(id.index, moment(deadline));
        }
    }

    /// Queues every connection whose deadline is `now` or before.
    pub(crate) fn enqueue_due(&mut self, now: Instant) {
        while let Some(index) = self.deadlines.pop_due(moment(now)) {
            self.enqueue(self.id(index));
        }
    }

    /// The earliest deadline.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.next().map(instant)
    }

    /// Every connection.
    pub(crate) fn ids(&self) -> impl Iterator<Item = Id> + '_ {
        let taken = self
            .slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| slot.connection.is_some());
        taken.map(|(index, slot)| Id {
            index: u32::try_from(index).unwrap_or(NONE),
            generation: slot.generation,
        })
    }

    fn id(&self, index: u32) -> Id {
        Id {
            index,
            generation: self.slots[index as usize].generation,
        }
    }
}

/// One closure for all, so that the image has the code that grows a table once.
fn hasher(slots: &[Slot], key: Key) -> impl Fn(&u32) -> u64 {
    move |&index| {
        let connection = slots[index as usize].connection.as_ref();
        connection.map_or(0, |connection| key.hash(&connection.flow))
    }
}

/// hashbrown has an error of its own; this is the standard one.
fn no_memory() -> TryReserveError {
    match Vec::<u8>::new().try_reserve(usize::MAX) {
        Err(e) => e,
        Ok(()) => unreachable!("no vector has that many bytes"),
    }
}
