//! A backend goes away and another comes: by detaching, by dying, by restoring the domain.

use super::*;
use crate::{Link, PATIENCE};
use std::cell::Cell;
use std::rc::Rc;
use xenlet_kernel::hosted::{self, store};
use xenlet_kernel::run::spawn;
use xenlet_kernel::suspend::{self, Resumed};
use xenlet_kernel::time::now;
use xenlet_kernel::xenbus::State;

/// Backends of every kind, slow enough that there is always something in flight.
fn kinds() -> impl Iterator<Item = Config> {
    [(false, 0), (true, 0), (false, 64), (true, 64)]
        .into_iter()
        .map(|(persistent, indirect)| Config {
            persistent,
            indirect,
            delay: Duration::from_millis(3),
            ..Config::default()
        })
}

/// Every request is done, whatever happens to the backend meanwhile, which `disturb` does again and again.
fn goes_on(disturb: impl AsyncFn(Config, &Medium, Vbd) -> Vbd + Send + Clone + 'static) {
    for (seed, config) in (0..).zip(kinds()) {
        let disturb = disturb.clone();
        let medium = Medium::new(MIB);
        hosted::test(async move || {
            sleep(Duration::from_millis(1)).await;
            let before = (grant::usage().0, hosted::ports(), 0, store::watches());
            let mut vbd = attach(config.clone(), &medium);
            let disk = Disk::open("xvda").await.unwrap();
            let work = spawn({
                let disk = disk.clone();
                async move { exercise(&disk, seed).await }
            });
            for _ in 0..5 {
                sleep(Duration::from_millis(4)).await;
                vbd = disturb(config.clone(), &medium, vbd).await;
            }
            work.await;
            assert_eq!(disk.link(), Link::Up);
            disk.close().await;
            sleep(Duration::from_millis(1)).await;
            let after = (
                grant::usage().0,
                hosted::ports(),
                page::leaked(),
                store::watches(),
            );
            assert_eq!(after, before);
        });
    }
}

#[test]
fn a_backend_that_is_bound_anew() {
    goes_on(async |_, _, vbd| {
        vbd.rebind();
        sleep(Duration::from_secs(2)).await;
        vbd
    });
}

#[test]
fn a_restored_domain_asks_again() {
    goes_on(async |config, medium, _| {
        let medium = medium.clone();
        let place = Rc::new(Cell::new(None));
        let new = Rc::clone(&place);
        hosted::restore(move || new.set(Some(attach(config, &medium))));
        let how = suspend::about_to().await.resumed().await;
        assert_eq!(how, Resumed::Restored);
        place.take().unwrap()
    });
}

#[test]
fn a_checkpoint_is_not_noticed() {
    goes_on(async |_, _, vbd| {
        hosted::checkpoint();
        let how = suspend::about_to().await.resumed().await;
        assert_eq!(how, Resumed::InPlace);
        assert!(!hosted::console_text().contains("xvda (vbd51712): the "));
        vbd
    });
}

#[test]
fn detached_and_attached_again() {
    goes_on(async |config, medium, vbd| {
        vbd.detach();
        sleep(Duration::from_millis(500)).await;
        let vbd = attach(config, medium);
        sleep(Duration::from_secs(5)).await;
        vbd
    });
}

#[test]
fn a_backend_that_dies_and_starts_again() {
    goes_on(async |config, medium, vbd| {
        vbd.vanish();
        sleep(Duration::from_millis(500)).await;
        let vbd = attach(config, medium);
        sleep(Duration::from_secs(5)).await;
        vbd
    });
}

/// A toolstack that takes its time to remove what it detached: nobody begins again with it meanwhile.
#[test]
fn what_is_being_detached_is_left_alone() {
    hosted::test(async || {
        let (config, medium) = (Config::default(), Medium::new(MIB));
        let vbd = attach(config.clone(), &medium);
        let disk = Disk::open("xvda").await.unwrap();
        let ends = config.ends();
        ends.detach();
        sleep(PATIENCE / 2).await;
        assert_eq!(ends.front_state(), State::Closed);
        assert_eq!(vbd.state(), State::Closed);
        vbd.vanish();
        ends.remove();
        let waits = disk.write(8, pages(&[2; 512]));
        attach(config, &medium);
        assert_eq!(waits.await.1, Ok(()));
        disk.close().await;
    });
}

/// What is asked while there is no backend waits for the next, up to a limit; then it fails, until there is one.
#[test]
fn requests_wait_but_not_for_ever() {
    hosted::test(async || {
        let (config, medium) = (Config::default(), Medium::new(MIB));
        let vbd = attach(config.clone(), &medium);
        let disk = Disk::open("xvda").await.unwrap();
        write(&disk, 0, &[1; 512]).await;
        vbd.vanish();
        sleep(PATIENCE / 2).await;
        let waits = disk.write(8, pages(&[2; 512]));
        attach(config.clone(), &medium);
        assert_eq!(waits.await.1, Ok(()));
        assert_eq!(read(&disk, 8, 512).await, [2; 512]);
        hosted::restore(|| ());
        suspend::about_to().await.resumed().await;
        let left = now();
        let waits = disk.write(8, pages(&[3; 512]));
        assert_eq!(waits.await.1, Err(IoError::Gone));
        assert!((PATIENCE..PATIENCE * 2).contains(&now().since(left)));
        assert_eq!(disk.flush().await, Err(IoError::Gone), "at once");
        sleep(PATIENCE * 3).await;
        attach(config, &medium);
        sleep(PATIENCE).await;
        assert_eq!(disk.link(), Link::Up);
        assert_eq!(read(&disk, 8, 512).await, [2; 512]);
        disk.close().await;
    });
}

#[test]
fn another_disk_is_not_taken_for_this_one() {
    for size in [MIB / 2, 2 * MIB] {
        hosted::test(async move || {
            attach(Config::default(), &Medium::new(MIB));
            let disk = Disk::open("xvda").await.unwrap();
            write(&disk, 0, &[1; 512]).await;
            let other = Medium::new(size);
            let place = other.clone();
            hosted::restore(move || drop(attach(Config::default(), &place)));
            suspend::about_to().await.resumed().await;
            let (_, result) = disk.write(0, pages(&[2; 512])).await;
            assert_eq!(result, Err(IoError::Gone));
            assert_eq!(disk.flush().await, Err(IoError::Gone));
            disk.close().await;
            assert!(other.bytes().iter().all(|byte| *byte == 0));
            let text = hosted::console_text();
            assert!(
                text.contains("the backend that came has another disk, of"),
                "{text}"
            );
            // It can be opened as what it is.
            let disk = Disk::open("xvda").await.unwrap();
            assert_eq!(disk.geometry().bytes(), size);
            disk.close().await;
        });
    }
}

/// Closed while there is no backend, and dropped.
#[test]
fn closed_meanwhile() {
    hosted::test(async || {
        let before = (grant::usage().0, hosted::ports());
        let vbd = attach(Config::default(), &Medium::new(MIB));
        let disk = Disk::open("xvda").await.unwrap();
        vbd.vanish();
        sleep(PATIENCE / 2).await;
        let other = disk.clone();
        let waits = other.write(8, pages(&[2; 512]));
        disk.close().await;
        assert_eq!(waits.await.1, Err(IoError::Gone));
        sleep(PATIENCE).await;
        assert_eq!(
            (grant::usage().0, hosted::ports(), page::leaked()),
            (before.0, before.1, 0)
        );
    });
}
