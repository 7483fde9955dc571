//! Little-endian numbers in what a disk holds, and the checksum over it.

/// The number at `at`; 0 beyond the end, as a field is that a shorter and older structure lacks.
pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(array_at(bytes, at))
}

/// As [`u16_at`].
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

/// A number whose upper half is elsewhere.
pub(super) fn u64_of(high: u32, low: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

/// The bytes at `at`; zeros beyond the end.
pub(super) fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let found = bytes.get(at..).and_then(|rest| rest.first_chunk());
    found.copied().unwrap_or([0; N])
}

/// Continues a CRC-32C (Castagnoli) from `crc`, which begins as [`BEGIN`]. As ext4 stores it: not inverted at the end.
pub(super) fn crc32c(crc: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(crc, |crc, byte| {
        TABLE[usize::from(crc.to_le_bytes()[0] ^ byte)] ^ crc >> 8
    })
}

/// What a checksum begins with.
pub(super) const BEGIN: u32 = !0;

const TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    /// The polynomial, its lowest power first.
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let mut table = [0; 256];
    let mut byte = 0u32;
    while byte < 256 {
        let mut crc = byte;
        let mut bit = 0;
        while bit < 8 {
            crc = crc >> 1 ^ if crc & 1 == 1 { POLYNOMIAL } else { 0 };
            bit += 1;
        }
        table[byte as usize] = crc;
        byte += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_lie_where_they_are_and_are_zero_beyond() {
        let bytes = [1, 2, 3, 4, 5];
        assert_eq!(
            (u16_at(&bytes, 3), u32_at(&bytes, 1)),
            (0x0504, 0x0504_0302)
        );
        assert_eq!((u16_at(&bytes, 4), u32_at(&bytes, usize::MAX)), (0, 0));
        assert_eq!(u64_of(1, 2), 0x1_0000_0002);
    }

    #[test]
    fn the_checksum_is_castagnolis() {
        // RFC 3720, B.4, and the usual check value.
        assert_eq!(!crc32c(BEGIN, b"123456789"), 0xe306_9283);
        assert_eq!(!crc32c(BEGIN, &[0; 32]), 0x8a91_36aa);
        assert_eq!(
            crc32c(crc32c(BEGIN, b"1234"), b"56789"),
            crc32c(BEGIN, b"123456789")
        );
    }
}
