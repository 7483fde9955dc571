//! All TCP connections of one interface: found by their four numbers, and queued when one has something to do.
//!
//! Everything is O(1) however many there are, but for the deadlines (O(log n)). Adding a connection is the one thing that
//! allocates, and it fails cleanly.
//!
//! A connection is *awake*, with a socket and buffers, or *resting*, without (`rest`). Those that are awake are in a list,
//! the one that is looked at next when buffers are short at its head.

use super::connection::{Connection, Seat};
use super::hash::Key;
use super::packet::Flow;
use super::rest::Resting;
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
    occupant: Occupant,
    /// Whether it is in the queue; if so, or if the slot is free, what comes after it.
    queued: bool,
    next: u32,
    /// Its neighbours in the list of those that are awake, if it is in it.
    older: u32,
    newer: u32,
    /// Whether the flow leads here.
    mapped: bool,
}

/// Who is in a slot.
#[derive(Debug)]
enum Occupant {
    Nobody,
    Awake(Connection),
    Resting(Resting),
}

impl Occupant {
    fn flow(&self) -> Option<&Flow> {
        match self {
            Self::Nobody => None,
            Self::Awake(connection) => Some(&connection.flow),
            Self::Resting(resting) => Some(&resting.flow),
        }
    }
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
    /// Oldest and newest of those that are awake.
    awake: (u32, u32),
    len: usize,
    resting: usize,
    /// Sockets of connections that have ended.
    spares: Vec<Seat>,
    /// Bytes of their buffers.
    spare_bytes: usize,
}

/// Most sockets that are kept for the next connections.
const SPARES: usize = 32;

/// How many connections are looked at to find one that can rest.
const LOOKS: usize = 32;

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
            awake: (NONE, NONE),
            len: 0,
            resting: 0,
            spares: Vec::new(),
            spare_bytes: 0,
        }
    }

    /// How many connections there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// How many of them rest.
    pub(crate) fn resting(&self) -> usize {
        self.resting
    }

    /// Finds the connection that a segment belongs to.
    pub(crate) fn find(&self, flow: &Flow) -> Option<Id> {
        let slots = &self.slots;
        let is_it = |&index: &u32| slots[index as usize].occupant.flow() == Some(flow);
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
        let occupant = Occupant::Awake(connection);
        let index = if self.free == NONE {
            self.slots.push(Slot {
                generation: 0,
                occupant,
                queued: false,
                next: NONE,
                older: NONE,
                newer: NONE,
                mapped: true,
            });
            self.slots.len() as u32 - 1
        } else {
            let index = self.free;
            let slot = &mut self.slots[index as usize];
            self.free = slot.next;
            slot.occupant = occupant;
            slot.mapped = true;
            index
        };
        self.link(index);
        index
    }

    /// Puts one at the newer end of the list of those that are awake.
    fn link(&mut self, index: u32) {
        let older = core::mem::replace(&mut self.awake.1, index);
        let slot = &mut self.slots[index as usize];
        (slot.older, slot.newer) = (older, NONE);
        match older {
            NONE => self.awake.0 = index,
            older => self.slots[older as usize].newer = index,
        }
    }

    /// Takes one out of it.
    fn unlink(&mut self, index: u32) {
        let Slot { older, newer, .. } = self.slots[index as usize];
        match older {
            NONE => self.awake.0 = newer,
            older => self.slots[older as usize].newer = newer,
        }
        match newer {
            NONE => self.awake.1 = older,
            newer => self.slots[newer as usize].older = older,
        }
    }

    /// Puts a connection to rest that has had nothing to do since the last look, and gives its socket away.
    pub(crate) fn put_to_rest(&mut self) -> Option<Seat> {
        for _ in 0..LOOKS {
            let index = self.awake.0;
            let slot = self.slots.get_mut(index as usize)?;
            let Occupant::Awake(connection) = &mut slot.occupant else {
                return None;
            };
            if core::mem::take(&mut connection.used) || slot.queued || !connection.can_rest() {
                self.unlink(index);
                self.link(index);
                continue;
            }
            self.unlink(index);
            self.deadlines.remove(index);
            self.resting += 1;
            let Occupant::Awake(connection) = self.leave(index) else {
                return None;
            };
            let (resting, seat) = connection.into_rest();
            self.slots[index as usize].occupant = Occupant::Resting(resting);
            return Some(seat);
        }
        None
    }

    /// Takes out who is in a slot. Not part of who calls it: that is a lot of code for what is done seldom.
    #[inline(never)]
    fn leave(&mut self, index: u32) -> Occupant {
        core::mem::replace(&mut self.slots[index as usize].occupant, Occupant::Nobody)
    }

    /// What is left of a connection that rests.
    pub(crate) fn resting_mut(&mut self, id: Id) -> Option<&mut Resting> {
        match self.slot_mut(id)?.occupant {
            Occupant::Resting(ref mut resting) => Some(resting),
            _ => None,
        }
    }

    /// Wakes a connection that rests.
    pub(crate) fn awaken(&mut self, id: Id, wake: impl FnOnce(Resting) -> Connection) {
        if self.resting_mut(id).is_some()
            && let Occupant::Resting(resting) = self.leave(id.index)
        {
            self.slots[id.index as usize].occupant = Occupant::Awake(wake(resting));
            self.resting -= 1;
            self.link(id.index);
        }
    }

    fn slot_mut(&mut self, id: Id) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(id.index as usize)?;
        (slot.generation == id.generation).then_some(slot)
    }

    /// The connection, if it is awake and has not been removed.
    pub(crate) fn get(&self, id: Id) -> Option<&Connection> {
        let slot = self.slots.get(id.index as usize)?;
        match &slot.occupant {
            Occupant::Awake(connection) if slot.generation == id.generation => Some(connection),
            _ => None,
        }
    }

    /// The connection, if it is awake and has not been removed.
    pub(crate) fn get_mut(&mut self, id: Id) -> Option<&mut Connection> {
        match self.slot_mut(id)?.occupant {
            Occupant::Awake(ref mut connection) => Some(connection),
            _ => None,
        }
    }

    /// Lets the flow be another connection's. The connection stays, for the application that has it.
    pub(crate) fn unmap(&mut self, id: Id) {
        let Some(slot) = self.slot_mut(id) else {
            return;
        };
        let Some(flow) = slot.occupant.flow().copied() else {
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
        self.unmap(id);
        if self.slot_mut(id).is_none() {
            return;
        }
        match self.leave(id.index) {
            Occupant::Nobody => return,
            Occupant::Resting(_) => self.resting -= 1,
            Occupant::Awake(connection) => {
                self.unlink(id.index);
                if self.spares.len() < SPARES && self.spares.try_reserve(1).is_ok() {
                    let spare = connection.into_seat();
                    self.spare_bytes += spare.sizes().bytes();
                    self.spares.push(spare);
                }
            }
        }
        self.deadlines.remove(id.index);
        self.len -= 1;
        let slot = &mut self.slots[id.index as usize];
        slot.generation = slot.generation.wrapping_add(1);
        // A queued slot is freed when the queue comes to it.
        if !slot.queued {
            slot.next = self.free;
            self.free = id.index;
        }
    }

    /// A socket of a connection that has ended.
    pub(crate) fn spare(&mut self) -> Option<Seat> {
        let spare = self.spares.pop()?;
        self.spare_bytes -= spare.sizes().bytes();
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
            if slot.occupant.flow().is_some() {
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

    /// Every connection, awake or resting.
    pub(crate) fn ids(&self) -> impl Iterator<Item = Id> + '_ {
        let taken = self
            .slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| slot.occupant.flow().is_some());
        taken.map(|(index, slot)| Id {
            index: u32::try_from(index).unwrap_or(NONE),
            generation: slot.generation,
        })
    }

    /// Every connection that is awake.
    pub(crate) fn awake(&self) -> impl Iterator<Item = &Connection> {
        self.slots.iter().filter_map(|slot| match &slot.occupant {
            Occupant::Awake(connection) => Some(connection),
            _ => None,
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
        let flow = slots[index as usize].occupant.flow();
        flow.map_or(0, |flow| key.hash(flow))
    }
}

/// hashbrown has an error of its own; this is the standard one.
fn no_memory() -> TryReserveError {
    match Vec::<u8>::new().try_reserve(usize::MAX) {
        Err(e) => e,
        Ok(()) => unreachable!("no vector has that many bytes"),
    }
}
