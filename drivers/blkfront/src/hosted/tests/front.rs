//! A frontend of a few lines, to ask what a driver would not.

use super::*;
use crate::proto::{Blkif, Request, Response};
use xenlet_kernel::event::Channel;
use xenlet_kernel::page::SharedPage;
use xenlet_kernel::ring::FrontRing;
use xenlet_kernel::time::timeout;

pub(super) struct Front {
    config: Config,
    ring: FrontRing<Blkif, SharedPage>,
    channel: Channel,
}

/// A page that the disk may read and write.
pub(super) fn page(value: u8) -> SharedPage {
    let mut page = Page::new().unwrap();
    page.fill(value);
    page.share(DomId(0), Access::ReadWrite).unwrap()
}

impl Front {
    pub(super) async fn connect(config: &Config, order: Option<u32>) -> Self {
        Self::connect_saying(config, order, "1").await
    }

    /// Connects with a ring of this order, or none said, and this for `feature-persistent`.
    pub(super) async fn connect_saying(
        config: &Config,
        order: Option<u32>,
        persistent: &str,
    ) -> Self {
        let ring = FrontRing::shared(1 << order.unwrap_or(0), DomId(0)).unwrap();
        let front = Self {
            config: config.clone(),
            ring,
            channel: Channel::unbound(DomId(0)).unwrap(),
        };
        front.write("state", State::Initialising.text());
        front.wait(State::InitWait).await;
        let refs = front
            .ring
            .pages()
            .iter()
            .map(|page| page.gref().0.to_string());
        match order {
            None => refs.for_each(|gref| front.write("ring-ref", &gref)),
            Some(order) => {
                front.write("ring-page-order", &order.to_string());
                for (i, gref) in refs.enumerate() {
                    front.write(&format!("ring-ref{i}"), &gref);
                }
            }
        }
        front.write("event-channel", &front.channel.port().0.to_string());
        front.write("protocol", "x86_64-abi");
        front.write("feature-persistent", persistent);
        front.write("state", State::Initialised.text());
        front.wait(State::Connected).await;
        front.write("state", State::Connected.text());
        front
    }

    pub(super) fn write(&self, key: &str, value: &str) {
        store::write(&format!("{}/{key}", self.config.ends().front()), value);
    }

    /// Waits for the backend to be in this state. It runs only while the guest sleeps.
    async fn wait(&self, state: State) {
        let path = format!("{}/state", self.config.ends().back());
        while store::read(&path).as_deref() != Some(state.text()) {
            sleep(Duration::from_micros(10)).await;
        }
    }

    pub(super) fn send(&mut self, request: Request) {
        self.ring.push(&request);
        if self.ring.publish() {
            self.channel.notify();
        }
    }

    pub(super) async fn answer(&mut self) -> Response {
        loop {
            if let Some(response) = self.ring.pop().unwrap() {
                return response;
            }
            if !self.ring.arm(1).unwrap() {
                self.channel.event().await;
            }
        }
    }

    /// The status of a request by itself.
    pub(super) async fn ask(&mut self, request: Request) -> i16 {
        self.send(request);
        let response = self.answer().await;
        assert_eq!(
            (response.id, response.operation),
            (request.id(), request.operation())
        );
        response.status
    }

    /// Goes to `Closed`, as far as the backend follows, and takes the ring back.
    pub(super) async fn leave(self) {
        self.write("state", State::Closing.text());
        sleep(Duration::from_millis(1)).await;
        self.write("state", State::Closed.text());
        let closed = self.wait(State::Closed);
        // One that is detached is gone then.
        let _ = timeout(Duration::from_millis(1), closed).await;
        store::remove(&format!("{}/ring-page-order", self.config.ends().front()));
        for page in self.ring.into_pages() {
            page.reclaim().unwrap();
        }
    }
}
