//! Connecting, closing, and what is left behind.

use super::*;
use crate::{Error, Lie, Link, PATIENCE, Why, disk_name, disks};
use xenlet_kernel::hosted::store;
use xenlet_kernel::time::now;
use xenlet_kernel::xenbus::{DeviceError, Failure, State};

#[test]
fn closing_gives_everything_back_and_it_can_be_opened_again() {
    let medium = Medium::new(MIB);
    hosted::test(async move || {
        attach(Config::default(), &medium);
        sleep(Duration::from_millis(1)).await;
        let taken = || {
            (
                grant::usage().0,
                store::watches(),
                hosted::ports(),
                page::leaked(),
            )
        };
        let before = taken();
        for round in 0..4 {
            let disk = Disk::open("xvda").await.unwrap();
            assert_eq!((disk.number(), disk.name()), (51712, "xvda (vbd51712)"));
            let again = Disk::connect(51712).await;
            let in_use = DeviceError {
                device: "vbd51712".into(),
                why: Failure::InUse,
            };
            assert_eq!(again.unwrap_err(), Error::Device(in_use));
            let other = disk.clone();
            write(&disk, 0, &[round; 512]).await;
            // What was asked for is done before it closes.
            let late = other.write(8, pages(&[round; 512]));
            if round % 2 == 0 {
                disk.close().await;
                assert_eq!(late.await.1, Ok(()));
                let (pages, result) = other.write(0, Pages::new(512).unwrap()).await;
                assert_eq!((pages.len(), result), (512, Err(IoError::Gone)));
                assert_eq!(other.flush().await, Err(IoError::Gone));
            } else {
                drop(late);
                drop((disk, other));
                sleep(Duration::from_secs(20)).await;
            }
            assert_eq!(medium.bytes()[8 * 512..9 * 512], [round; 512]);
            sleep(Duration::from_millis(1)).await;
            assert_eq!(taken(), before);
        }
    });
}

#[test]
fn several_disks() {
    hosted::test(async || {
        let numbers = [51728, 51712, 268_439_552];
        for number in numbers {
            let config = Config {
                number,
                ..Config::default()
            };
            attach(config, &Medium::from_bytes(&[number as u8; 4096]));
        }
        let names: Vec<_> = disks().await.unwrap().into_iter().map(disk_name).collect();
        assert_eq!(names, ["xvda", "xvdb", "xvdq"]);
        let mut open = Vec::new();
        for name in &names {
            open.push(Disk::open(name).await.unwrap());
        }
        for disk in &open {
            assert_eq!(read(disk, 0, 4096).await, [disk.number() as u8; 4096]);
        }
        let none = Disk::open("xvdc").await.unwrap_err();
        assert!(matches!(
            none,
            Error::Device(DeviceError {
                why: Failure::NoDevice { .. },
                ..
            })
        ));
        let no_name = Disk::open("disk1").await.unwrap_err();
        assert_eq!(no_name, Error::NoName("disk1".into()));
    });
}

/// What is left of a disk whose backend goes away by `leave` in the middle of requests.
fn left(persistent: bool, leave: impl FnOnce(&Vbd) + Send + 'static) -> Link {
    let config = Config {
        persistent,
        delay: Duration::from_millis(50),
        ..Config::bare()
    };
    hosted::test(async move || {
        let before = grant::usage().0;
        let vbd = attach(config, &Medium::new(MIB));
        let disk = Disk::open("xvda").await.unwrap();
        let all: Vec<_> = (0..100_u64)
            .map(|i| disk.read(i * 16, Pages::new(5 * SECTOR).unwrap()))
            .collect();
        let flush = disk.flush();
        sleep(Duration::from_millis(2)).await;
        leave(&vbd);
        let left = now();
        let mut gone = 0;
        for answer in all {
            let (pages, result) = answer.await;
            assert_eq!(pages.len(), 5 * SECTOR, "they come back");
            gone += usize::from(result == Err(IoError::Gone));
        }
        assert!(gone > 50, "{gone}");
        let waited = now().since(left);
        assert!(
            (PATIENCE..PATIENCE + Duration::from_secs(2)).contains(&waited),
            "{waited:?}"
        );
        let _ = flush.await;
        let (pages, result) = disk.write(0, Pages::new(512).unwrap()).await;
        assert_eq!((pages.len(), result), (512, Err(IoError::Gone)));
        let link = disk.link();
        disk.close().await;
        sleep(Duration::from_secs(20)).await;
        assert_eq!((grant::usage().0, page::leaked()), (before, 0));
        assert!(hosted::console_text().contains("xvda (vbd51712): the backend"));
        link
    })
}

#[test]
fn a_backend_that_leaves_for_good_ends_what_waits() {
    for persistent in [false, true] {
        let link = left(persistent, Vbd::detach);
        assert_eq!(link, Link::Down(Why::Backend(State::Closing)));
        let link = left(persistent, Vbd::vanish);
        assert_eq!(link, Link::Down(Why::Backend(State::Unknown)));
    }
}

/// Says something else under a key as soon as the backend is connected.
struct Liar {
    back: String,
    key: &'static str,
    said: Option<&'static str>,
}

impl hosted::Backend for Liar {
    fn poll(&mut self) -> bool {
        let connected = store::read(&format!("{}/state", self.back)).as_deref() == Some("4");
        if connected && let Some(said) = self.said.take() {
            store::write(&format!("{}/{}", self.back, self.key), said);
        }
        false
    }
}

#[test]
fn what_makes_no_sense_is_refused_and_can_be_tried_again() {
    let medium = Medium::new(MIB);
    hosted::test(async move || {
        let config = Config::default();
        attach(config.clone(), &medium);
        let before = grant::usage().0;
        for (key, said) in [
            ("sector-size", "0"),
            ("sector-size", "3"),
            ("sector-size", "8192"),
            ("sector-size", "4294967296"),
            ("sectors", "18446744073709551615"),
            ("sectors", "-1"),
            ("sectors", ""),
        ] {
            hosted::add_backend(Box::new(Liar {
                back: config.ends().back(),
                key,
                said: Some(said),
            }));
            let text = Disk::open("xvda").await.unwrap_err().to_string();
            assert!(text.starts_with("xvda (vbd51712): the backend's"), "{text}");
            assert!(text.contains(key) && text.contains(said), "{text}");
            assert_eq!((grant::usage().0, page::leaked()), (before, 0));
        }
        let disk = Disk::open("xvda").await.unwrap();
        exercise(&disk, 1).await;
    });
}

#[test]
fn what_is_less_than_a_sector_is_left_out() {
    let medium = Medium::new(MIB).with_sector_size(4096);
    hosted::test(async move || {
        let config = Config::default();
        attach(config.clone(), &medium);
        hosted::add_backend(Box::new(Liar {
            back: config.ends().back(),
            key: "sectors",
            said: Some("2047"),
        }));
        let disk = Disk::open("xvda").await.unwrap();
        assert_eq!(disk.geometry().sectors, 2040);
        disk.close().await;
    });
}

#[test]
fn lies_are_said_in_words() {
    let lie = Lie::Operation { asked: 0, said: 1 };
    assert_eq!(
        lie.to_string(),
        "response for operation 1 to a request for 0"
    );
}
