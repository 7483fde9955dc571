//! The numbers of every service, for those who look into the guest.

use crate::Counters;
use alloc::rc::{Rc, Weak};
use alloc::vec::Vec;
use core::cell::RefCell;
use xenlet_kernel::local;
use xenlet_kernel::metrics::{self, ENABLED, Rows, Writer};

/// A service, whatever it answers.
pub(crate) trait Counted {
    /// What it has now.
    fn numbers(&self) -> Numbers;
}

pub(crate) struct Numbers {
    pub(crate) counters: Counters,
    /// How many connections there may be.
    pub(crate) max_connections: usize,
}

local! {
    static SERVICES: RefCell<Vec<(u16, Weak<dyn Counted>)>> = RefCell::new(Vec::new());
}

/// Has the numbers of one more service written, by the port that it listens to, for as long as it is there.
pub(crate) fn add(port: u16, service: &Rc<impl Counted + 'static>) {
    if ENABLED {
        let service: Weak<dyn Counted> = Rc::downgrade(service) as _;
        SERVICES.with(|services| {
            let mut services = services.borrow_mut();
            services.retain(|(other, service)| *other != port && service.strong_count() > 0);
            services.push((port, service));
        });
        metrics::provide("http", write);
    }
}

const GAUGES: Rows<Numbers> = &[
    (
        "http_connections",
        "Connections of HTTP services.",
        |numbers| numbers.counters.open.into(),
    ),
    (
        "http_connections_limit",
        "Most that there may be; more wait to be accepted.",
        |numbers| numbers.max_connections as u64,
    ),
];

const COUNTERS: Rows<Numbers> = &[
    (
        "http_connections_total",
        "Connections there have been.",
        |numbers| numbers.counters.connections,
    ),
    (
        "http_requests_total",
        "Requests whose head was accepted.",
        |numbers| numbers.counters.requests,
    ),
    (
        "http_refused_total",
        "Requests refused for what their bytes were, or for when they came.",
        |numbers| numbers.counters.refused,
    ),
    (
        "http_sent_bytes_total",
        "Bytes of answers that connections took.",
        |numbers| numbers.counters.bytes_sent,
    ),
];

fn write(w: &mut Writer<'_>) {
    let services = SERVICES.with(|services| services.borrow().clone());
    let services: Vec<_> = services
        .iter()
        .filter_map(|(port, service)| Some((*port, service.upgrade()?.numbers())))
        .collect();
    w.gauges(GAUGES, "port", &services);
    w.counters(COUNTERS, "port", &services);
}
