//! Requests as they come off the ring: mapped, and checked as strictly as a frontend can be.

use super::{Part, Pending, Queue, Work};
use crate::block::{Geometry, SECTOR};
use crate::hosted::blkback::Counts;
use crate::hosted::config::Config;
use crate::hosted::faults::Fates;
use crate::proto::{
    self, Direct, Discard, Indirect, MAX_SEGMENTS, SEGMENT_SIZE, SEGMENTS_PER_PAGE, Segment,
};
use std::collections::HashMap;
use std::rc::Rc;
use xenlet_kernel::addr::{GrantRef, PAGE_SIZE, Port};
use xenlet_kernel::hosted::{BackendPort, GrantError, MappedPage, map_grant};
use xenlet_kernel::ring::BackRing;
use xenlet_kernel::time::{Duration, now};

fn map(gref: GrantRef, write: bool) -> MappedPage {
    match map_grant(gref, write) {
        Ok(page) => page,
        Err(e) => panic!("blkback could not map a page of the guest's: {e:?}"),
    }
}

impl Queue {
    /// Reads the frontend's keys and maps its ring.
    pub(in crate::hosted) fn open(config: &Config, geometry: Geometry) -> Self {
        let ends = config.ends();
        let protocol = ends.front_key("protocol");
        assert!(
            protocol.as_deref().is_none_or(|name| name == "x86_64-abi"),
            "blkback would read the ring as {protocol:?}"
        );
        let refs: Vec<GrantRef> = match ends.front_key("ring-page-order") {
            None => vec![GrantRef(ends.need("ring-ref"))],
            Some(_) => {
                let order: u32 = ends.need("ring-page-order");
                assert!(
                    order <= config.ring_order,
                    "a ring of order {order}, where {} is offered",
                    config.ring_order
                );
                (0..1 << order)
                    .map(|i| GrantRef(ends.need(&format!("ring-ref{i}"))))
                    .collect()
            }
        };
        let port: u32 = ends.need("event-channel");
        let Some(end) = BackendPort::bind(Port(port)) else {
            panic!("blkback could not bind the guest's event channel {port}");
        };
        Self {
            geometry,
            ring: BackRing::new(refs.into_iter().map(|gref| map(gref, true)).collect()),
            end,
            persistent: config.persistent && ends.front_flag("feature-persistent"),
            kept: HashMap::new(),
            awake: true,
            pending: Vec::new(),
            config: config.clone(),
        }
    }

    /// Takes all requests there are. True if there was one, or the ring is to be looked at again.
    pub(super) fn take_all(&mut self, fates: &mut Fates, counts: &mut Counts) -> bool {
        if !self.awake {
            return false;
        }
        let lies = |e| -> ! { panic!("blkback would kill the ring: {e}") };
        while let Some(request) = self.ring.pop().unwrap_or_else(|e| lies(e)) {
            let pending = self.take(&request, fates, counts);
            self.pending.push(pending);
            counts.deepest = counts.deepest.max(self.pending.len());
        }
        self.awake = self.ring.arm(1).unwrap_or_else(|e| lies(e));
        true
    }

    fn take(
        &mut self,
        request: &proto::Request,
        fates: &mut Fates,
        counts: &mut Counts,
    ) -> Pending {
        let id = request.id();
        assert!(
            self.pending.iter().all(|pending| pending.id != id),
            "two requests in flight have the id {id}"
        );
        let late = u64::try_from(self.config.delay.as_nanos()).unwrap_or(u64::MAX);
        let mut pending = Pending {
            id,
            operation: request.operation(),
            work: Work::Refused,
            sector: 0,
            parts: Vec::new(),
            indirect: false,
            due: now() + Duration::from_nanos(fates.dice.below(late)),
        };
        let handle = match request {
            proto::Request::Direct(direct) => {
                self.take_direct(direct, &mut pending, counts);
                direct.handle
            }
            proto::Request::Indirect(indirect) => {
                self.take_indirect(indirect, &mut pending, counts);
                indirect.handle
            }
            proto::Request::Discard(discard) => {
                self.take_discard(discard, &mut pending);
                counts.discards += 1;
                discard.handle
            }
        };
        assert_eq!(
            u32::from(handle),
            self.config.number & 0xffff,
            "a request for another disk"
        );
        counts.segments += pending.parts.len() as u64;
        if self.config.refused.contains(&pending.operation) {
            pending.work = Work::Refused;
        }
        pending
    }

    fn take_direct(&mut self, direct: &Direct, pending: &mut Pending, counts: &mut Counts) {
        let count = usize::from(direct.nr_segments);
        let empty_allowed = match direct.operation {
            proto::OP_READ => {
                counts.reads += 1;
                pending.work = Work::Read;
                false
            }
            proto::OP_WRITE => {
                counts.writes += 1;
                pending.work = Work::Write;
                false
            }
            proto::OP_FLUSH => {
                assert!(self.config.flush, "a flush, which is not offered");
                assert_eq!(count, 0, "a flush has nothing to write");
                counts.flushes += 1;
                pending.work = Work::Flush;
                true
            }
            proto::OP_WRITE_BARRIER => {
                assert!(self.config.barrier, "a barrier, which is not offered");
                counts.barriers += 1;
                pending.work = Work::Barrier;
                true
            }
            operation => panic!("operation {operation} does not exist"),
        };
        assert!(
            count <= MAX_SEGMENTS && (count > 0 || empty_allowed),
            "{count} segments in a request of operation {}",
            direct.operation
        );
        pending.sector = direct.sector;
        self.take_segments(&direct.segments[..count], pending, counts);
    }

    fn take_indirect(&mut self, indirect: &Indirect, pending: &mut Pending, counts: &mut Counts) {
        let count = usize::from(indirect.nr_segments);
        assert!(
            0 < count && indirect.nr_segments <= self.config.indirect,
            "an indirect request of {count} segments, where {} are offered",
            self.config.indirect
        );
        pending.work = match indirect.operation {
            proto::OP_READ => Work::Read,
            proto::OP_WRITE => Work::Write,
            operation => panic!("operation {operation} in an indirect request"),
        };
        match pending.work {
            Work::Read => counts.reads += 1,
            _ => counts.writes += 1,
        }
        counts.indirect += 1;
        pending.indirect = true;
        pending.sector = indirect.sector;
        let mut segments = Vec::new();
        for gref in &indirect.pages[..count.div_ceil(SEGMENTS_PER_PAGE)] {
            self.check_free(*gref);
            let page = self.page(*gref, false, counts);
            let mut bytes = [0; PAGE_SIZE];
            (*page).as_ref().read(0, &mut bytes);
            let (all, _) = bytes.as_chunks::<SEGMENT_SIZE>();
            segments.extend(all.iter().map(|bytes| Segment::parse(*bytes)));
        }
        self.take_segments(&segments[..count], pending, counts);
    }

    fn take_discard(&self, discard: &Discard, pending: &mut Pending) {
        assert!(self.config.discard, "a discard, which is not offered");
        assert_eq!(discard.flag, 0, "a secure discard, which is not offered");
        self.check(discard.sector, discard.sectors, true);
        pending.sector = discard.sector;
        pending.work = Work::Discard(discard.sectors);
    }

    fn take_segments(&mut self, segments: &[Segment], pending: &mut Pending, counts: &mut Counts) {
        let write = pending.work != Work::Read;
        for Segment { gref, first, last } in segments.iter().copied() {
            assert!(
                first <= last && usize::from(last) < PAGE_SIZE / SECTOR,
                "a segment of sectors {first} to {last} of a page"
            );
            self.check_free(gref);
            // Else the guest's data is open to more than it must be.
            assert!(
                !write
                    || self.persistent
                    || matches!(map_grant(gref, true), Err(GrantError::ReadOnly(_))),
                "grant {} permits writing, and is only to be read",
                gref.0
            );
            let page = self.page(gref, !write, counts);
            pending.parts.push(Part {
                page,
                gref,
                offset: usize::from(first) * SECTOR,
                len: usize::from(last - first + 1) * SECTOR,
            });
        }
        let len: usize = pending.parts.iter().map(|part| part.len).sum();
        if len > 0 {
            self.check(pending.sector, (len / SECTOR) as u64, write);
        }
    }

    /// Checks that the request is one for this disk.
    fn check(&self, sector: u64, sectors: u64, write: bool) {
        assert!(
            !(write && self.geometry.read_only),
            "the disk is read-only, and sector {sector} is to be written"
        );
        let len = usize::try_from(sectors)
            .ok()
            .and_then(|n| n.checked_mul(SECTOR));
        let Some(len) = len else {
            panic!("{sectors} sectors in one request");
        };
        if let Err(e) = self.geometry.check(sector, len) {
            panic!("blkback would fail the request: {e}");
        }
    }

    /// Checks that no request in flight has the page.
    fn check_free(&self, gref: GrantRef) {
        assert!(
            self.pending
                .iter()
                .all(|pending| pending.parts.iter().all(|part| part.gref != gref)),
            "two requests in flight have the page of grant {}",
            gref.0
        );
    }

    /// The page of a grant, kept from before or mapped now; `write` if the disk writes it.
    fn page(&mut self, gref: GrantRef, write: bool, counts: &mut Counts) -> Rc<MappedPage> {
        if let Some(page) = self.kept.get(&gref) {
            return Rc::clone(page);
        }
        counts.mapped += 1;
        let page = Rc::new(map(gref, write || self.persistent));
        if self.persistent && self.kept.len() < self.config.most_persistent {
            self.kept.insert(gref, Rc::clone(&page));
        }
        page
    }
}
