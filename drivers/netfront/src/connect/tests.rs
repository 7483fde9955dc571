//! What xenstore may say of an interface.

use super::*;

#[test]
fn mac_addresses() {
    assert_eq!(
        parse_mac("00:16:3e:AB:cd:0f"),
        Some([0, 0x16, 0x3e, 0xab, 0xcd, 0x0f])
    );
    for bad in [
        "",
        "00:16:3e:12:34",
        "00:16:3e:12:34:56:78",
        "00:16:3e:12:34:5",
        "00:16:3e:12:34:+5",
        "00:16:3e:12:34:5g",
        "00-16-3e-12-34-56",
        " 00:16:3e:12:34:56",
        "00:16:3e:12:34:56\n",
        "01:00:5e:00:00:01",
        "00:00:00:00:00:00",
        "é0:16:3e:12:34:56",
    ] {
        assert_eq!(parse_mac(bad), None, "{bad:?}");
    }
}

#[test]
fn mtus() {
    let sg = Features {
        sg: true,
        ..Features::default()
    };
    let of = |said: &str, features| parse_mtu(0, Some(said.to_string()), features);
    assert_eq!(parse_mtu(0, None, sg), 1500);
    assert_eq!(of("9000", sg), 9000);
    assert_eq!(of("9000", Features::default()), 1500, "more than a page");
    assert_eq!(of("4078", Features::default()), 4078);
    for bad in ["", "67", "-1", "65518", "4294967296", "1500 ", "0x5dc"] {
        assert_eq!(of(bad, sg), 1500, "{bad:?}");
    }
}
