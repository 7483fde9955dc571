//! Pages that are shared and taken back while a backend maps and unmaps them, against a model of who may reach what.

use xenlet_kernel::addr::{GrantRef, PAGE_SIZE};
use xenlet_kernel::grant::{self, Access};
use xenlet_kernel::hosted::hostile::Script;
use xenlet_kernel::hosted::{self, DOM0, MappedPage, assert_wiped, map_grant};
use xenlet_kernel::page::{LentPages, Page, SharedPage, leaked};

/// Most of each kind at a time.
const MOST: usize = 24;

#[derive(Default)]
struct State {
    pages: Vec<Page>,
    shared: Vec<(SharedPage, Access)>,
    lent: Vec<LentPages>,
    mapped: Vec<(GrantRef, MappedPage)>,
    /// Grants that are over, and what should have been lost with those that could not be ended.
    ended: Vec<GrantRef>,
    lost_pages: usize,
    lost_grants: usize,
}

/// Does with pages what `data` says.
///
/// # Panics
/// If a page comes back that a backend has mapped or doesn't when none has, if an ended grant can be mapped, if a page is shown
/// that was not wiped, or if the counts are wrong.
pub(crate) fn grants(data: &[u8]) {
    let data = data.to_vec();
    hosted::test(async move || {
        let mut script = Script::new(data);
        let mut state = State::default();
        let before = grant::usage().0;
        while !script.is_done() {
            state.step(&mut script);
            let lent: usize = state.lent.iter().map(LentPages::count).sum();
            let now = before + state.shared.len() + lent + state.lost_grants;
            assert_eq!(grant::usage().0, now, "grants");
            assert_eq!(leaked(), state.lost_pages, "pages lost");
        }
        assert_wiped();
    });
}

impl State {
    fn step(&mut self, script: &mut Script) {
        match script.byte() % 9 {
            0 if self.pages.len() < MOST => {
                let page = Page::new().expect("memory");
                assert!(page.iter().all(|byte| *byte == 0), "a new page is zeros");
                self.pages.push(page);
            }
            1 if self.shared.len() < MOST => self.share(script),
            2 => self.reclaim(script),
            3 => self.drop_shared(script),
            4 if self.mapped.len() < MOST => self.map(script),
            5 => drop(take(&mut self.mapped, script)),
            6 if self.lent.len() < MOST => {
                let count = 1 + usize::from(script.byte() % 6);
                let run = LentPages::new(count, DOM0).expect("memory");
                let is_its = |gref: &GrantRef| (0..count).any(|page| run.gref(page) == *gref);
                self.ended.retain(|gref| !is_its(gref));
                self.lent.push(run);
            }
            7 => self.write(script),
            _ => self.drop_lent(script),
        }
    }

    /// How often a grant is mapped.
    fn maps(&self, gref: GrantRef) -> usize {
        self.mapped
            .iter()
            .filter(|(other, _)| *other == gref)
            .count()
    }

    fn share(&mut self, script: &mut Script) {
        let access = script.one_of(&[Access::ReadOnly, Access::ReadWrite]);
        if let Some(page) = take(&mut self.pages, script) {
            let page = page.share(DOM0, access).expect("a grant is left");
            self.ended.retain(|gref| *gref != page.gref());
            self.shared.push((page, access));
        }
    }

    fn reclaim(&mut self, script: &mut Script) {
        let Some((page, access)) = take(&mut self.shared, script) else {
            return;
        };
        let gref = page.gref();
        assert_eq!(page.is_held(), self.maps(gref) > 0);
        match page.reclaim() {
            Ok(page) => {
                assert_eq!(self.maps(gref), 0, "{gref:?} is mapped");
                self.ended.push(gref);
                self.pages.push(page);
            }
            Err(page) => {
                assert!(self.maps(gref) > 0, "{gref:?} is not mapped");
                self.shared.push((page, access));
            }
        }
    }

    fn drop_shared(&mut self, script: &mut Script) {
        if let Some((page, _)) = take(&mut self.shared, script) {
            let lost = usize::from(self.maps(page.gref()) > 0);
            self.lost_pages += lost;
            self.lost_grants += lost;
            if lost == 0 {
                self.ended.push(page.gref());
            }
        }
    }

    fn drop_lent(&mut self, script: &mut Script) {
        if let Some(run) = take(&mut self.lent, script) {
            let held = (0..run.count())
                .filter(|page| self.maps(run.gref(*page)) > 0)
                .count();
            assert_eq!(run.is_held(), held > 0);
            self.lost_grants += held;
            if held > 0 {
                self.lost_pages += run.count();
            }
        }
    }

    fn map(&mut self, script: &mut Script) {
        let write = script.byte() & 1 == 0;
        let index = usize::from(script.byte());
        match script.byte() % 3 {
            0 => {
                if let Some(gref) = index.checked_rem(self.ended.len()).map(|at| self.ended[at]) {
                    assert!(map_grant(gref, write).is_err(), "{gref:?} is over");
                }
            }
            1 => {
                if let Some(at) = index.checked_rem(self.shared.len()) {
                    let (page, access) = &self.shared[at];
                    let mapped = map_grant(page.gref(), write);
                    assert_eq!(mapped.is_ok(), !write || *access == Access::ReadWrite);
                    self.mapped
                        .extend(mapped.ok().map(|mapped| (page.gref(), mapped)));
                }
            }
            _ => {
                if let Some(at) = index.checked_rem(self.lent.len()) {
                    let run = &self.lent[at];
                    let gref = run.gref(usize::from(script.byte()) % run.count());
                    assert!(map_grant(gref, true).is_err(), "lent pages are read-only");
                    self.mapped
                        .extend(map_grant(gref, false).ok().map(|mapped| (gref, mapped)));
                }
            }
        }
    }

    fn write(&mut self, script: &mut Script) {
        if let Some(at) = usize::from(script.byte()).checked_rem(self.lent.len()) {
            let run = &mut self.lent[at];
            let bytes = run.count() * PAGE_SIZE;
            let start = usize::from(script.word()) % bytes;
            let end = (start + usize::from(script.word())).min(bytes);
            run.bytes_mut(start..end).fill(script.byte());
        }
    }
}

fn take<T>(from: &mut Vec<T>, script: &mut Script) -> Option<T> {
    let at = usize::from(script.byte()).checked_rem(from.len())?;
    Some(from.swap_remove(at))
}
