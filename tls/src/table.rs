//! ring's table of multiples of P-256's generator, computed when a guest starts: its 148 KiB are most of what ring would add
//! to an image, and they don't compress. All of it is public; what happens with secrets is ring's own code.
//!
//! Row `w` of 37 has the points `k·2^(7w)·G` for `k` of 1 to 64, as `x` and `y`, each in Montgomery's form (times 2^256) and
//! in four words, the lowest first. A signature adds up one point of each row. A known key shows that ring takes it so.

use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use xenlet_kernel::computed;

/// Points in a row, and rows.
const POINTS: usize = 64;
const ROWS: usize = 37;

/// A number below [`P`], in Montgomery's form.
type Element = [u64; 4];

/// A point: `x` and `y`.
type Affine = [Element; 2];

/// A point in Jacobian coordinates: `(x/z², y/z³)`.
#[derive(Clone, Copy)]
struct Jacobian {
    x: Element,
    y: Element,
    z: Element,
}

/// 2^256 - 2^224 + 2^192 + 2^96 - 1. As it is -1 modulo 2^64, Montgomery's factor for it is 1.
const P: Element = [u64::MAX, 0xffff_ffff, 0, 0xffff_ffff_0000_0001];
/// 2^256 modulo `P`.
const ONE: Element = [1, 0xffff_ffff_0000_0000, u64::MAX, 0xffff_fffe];
/// G.
const GENERATOR: Affine = [
    [
        0x79e7_30d4_18a9_143c,
        0x75ba_95fc_5fed_b601,
        0x79fb_732b_7762_2510,
        0x1890_5f76_a537_55c6,
    ],
    [
        0xddf2_5357_ce95_560a,
        0x8b4a_b8e4_ba19_e45c,
        0xd2e8_8688_dd21_f325,
        0x8571_ff18_2588_5d85,
    ],
];

/// The key of RFC 6979 §A.2.5, and what is public of it.
const KNOWN: [u8; 32] = *b"\xc9\xaf\xa9\xd8\x45\xba\x75\x16\x6b\x5c\x21\x57\x67\xb1\xd6\x93\
\x4e\x50\xc3\xdb\x36\xe8\x9b\x12\x7b\x8a\x62\x2b\x12\x0f\x67\x21";
const KNOWN_PUBLIC: [u8; 65] = *b"\x04\
\x60\xfe\xd4\xba\x25\x5a\x9d\x31\xc9\x61\xeb\x74\xc6\x35\x6d\x68\xc0\x49\xb8\x92\x3b\x61\xfa\x6c\xe6\x69\x62\x2e\x60\xf2\x9f\xb6\
\x79\x03\xfe\x10\x08\xb8\xbc\x99\xa4\x1a\xe9\xe9\x56\x28\xbc\x64\xf2\xf1\xb2\x0c\x2d\x7e\x9f\x51\x77\xa3\xc2\x94\xd4\x46\x22\x99";

/// Fills the table if that has to be done and was not done yet. Returns whether ring computes with it as it should.
pub(crate) fn is_ready() -> bool {
    let Some(table) = computed::take() else {
        // It is a constant here, or somebody was here before and saw that it is right: without, there is no TLS.
        return true;
    };
    if table.len() != ROWS * POINTS * 8 {
        return false;
    }
    fill(table);
    let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
    let random = SystemRandom::new();
    // ring computes the public key and compares it.
    EcdsaKeyPair::from_private_key_and_public_key(algorithm, &KNOWN, &KNOWN_PUBLIC, &random).is_ok()
}

fn fill(table: &mut [u64]) {
    let mut base = GENERATOR;
    for row in table.chunks_exact_mut(POINTS * 8) {
        let (points, next) = multiples(&base);
        for (place, number) in row.iter_mut().zip(points.as_flattened().as_flattened()) {
            *place = *number;
        }
        base = next;
    }
}

/// `k·base` for `k` of 1 to 64, and of 128.
fn multiples(base: &Affine) -> ([Affine; POINTS], Affine) {
    let first = Jacobian {
        x: base[0],
        y: base[1],
        z: ONE,
    };
    let mut points = [first; POINTS + 1];
    let mut last = first.double();
    for point in &mut points[1..POINTS] {
        *point = last;
        last = last.plus(base);
    }
    points[POINTS] = points[POINTS - 1].double();
    let [points @ .., next] = affine(points);
    (points, next)
}

/// Divides by all `z` at once: there is one inversion, of their product.
fn affine<const N: usize>(points: [Jacobian; N]) -> [Affine; N] {
    let mut before = [ONE; N];
    let mut product = ONE;
    for (place, point) in before.iter_mut().zip(&points) {
        *place = product;
        product = times(&product, &point.z);
    }
    let mut inverse = invert(&product);
    let mut found = [[ONE; 2]; N];
    for n in (0..N).rev() {
        let Jacobian { x, y, z } = points[n];
        let of_z = times(&inverse, &before[n]);
        inverse = times(&inverse, &z);
        let squared = times(&of_z, &of_z);
        found[n] = [times(&x, &squared), times(&y, &times(&squared, &of_z))];
    }
    found
}

impl Jacobian {
    /// `dbl-2001-b` of the Explicit-Formulas Database, where the curve's `a` is -3.
    fn double(&self) -> Self {
        let Self { x, y, z } = self;
        let (delta, gamma) = (times(z, z), times(y, y));
        let beta = times(x, &gamma);
        let alpha = times(&minus(x, &delta), &plus(x, &delta));
        let alpha = plus(&plus(&alpha, &alpha), &alpha);
        let beta4 = doubled(&doubled(&beta));
        let new_x = minus(&times(&alpha, &alpha), &doubled(&beta4));
        let sum = plus(y, z);
        let new_z = minus(&minus(&times(&sum, &sum), &gamma), &delta);
        let gamma8 = doubled(&doubled(&doubled(&times(&gamma, &gamma))));
        let new_y = minus(&times(&alpha, &minus(&beta4, &new_x)), &gamma8);
        Self {
            x: new_x,
            y: new_y,
            z: new_z,
        }
    }

    /// `madd`, of two points that differ.
    fn plus(&self, other: &Affine) -> Self {
        let Self { x, y, z } = self;
        let zz = times(z, z);
        let h = minus(&times(&other[0], &zz), x);
        let r = minus(&times(&other[1], &times(&zz, z)), y);
        let hh = times(&h, &h);
        let (hhh, v) = (times(&h, &hh), times(x, &hh));
        let new_x = minus(&minus(&times(&r, &r), &hhh), &doubled(&v));
        let new_y = minus(&times(&r, &minus(&v, &new_x)), &times(y, &hhh));
        Self {
            x: new_x,
            y: new_y,
            z: times(z, &h),
        }
    }
}

/// `a·b/2^256` modulo `P`.
fn times(a: &Element, b: &Element) -> Element {
    let mut sum = [0; 6];
    for digit in b {
        // With b's digit, and then with the multiple of P that makes the lowest word zero, which is dropped.
        let carry = add_product(&mut sum, a, *digit);
        sum[5] = carry;
        let factor = sum[0];
        let carry = add_product(&mut sum, &P, factor);
        sum[5] += carry;
        sum = [sum[1], sum[2], sum[3], sum[4], sum[5], 0];
    }
    let [low @ .., high, _] = sum;
    reduced(low, high)
}

/// `sum += a·digit` for the lower five words. Returns what is carried.
fn add_product(sum: &mut [u64; 6], a: &Element, digit: u64) -> u64 {
    let mut carry = 0;
    for (place, word) in sum.iter_mut().zip(a) {
        (*place, carry) = word.carrying_mul_add(digit, *place, carry);
    }
    let (high, is_over) = sum[4].overflowing_add(carry);
    sum[4] = high;
    u64::from(is_over)
}

/// A number below `2·P`, `high` being its fifth word, modulo `P`.
fn reduced(number: Element, high: u64) -> Element {
    let (less, is_below) = subtract(&number, &P);
    if is_below && high == 0 { number } else { less }
}

fn plus(a: &Element, b: &Element) -> Element {
    let (mut sum, mut carry) = ([0; 4], false);
    for ((place, a), b) in sum.iter_mut().zip(a).zip(b) {
        (*place, carry) = a.carrying_add(*b, carry);
    }
    reduced(sum, u64::from(carry))
}

fn doubled(a: &Element) -> Element {
    plus(a, a)
}

fn minus(a: &Element, b: &Element) -> Element {
    let (difference, is_below) = subtract(a, b);
    if !is_below {
        return difference;
    }
    let (mut sum, mut carry) = ([0; 4], false);
    for ((place, a), p) in sum.iter_mut().zip(difference).zip(P) {
        (*place, carry) = a.carrying_add(p, carry);
    }
    sum
}

/// `a - b` modulo 2^256, and whether it is below zero.
fn subtract(a: &Element, b: &Element) -> (Element, bool) {
    let (mut difference, mut borrow) = ([0; 4], false);
    for ((place, a), b) in difference.iter_mut().zip(a).zip(b) {
        (*place, borrow) = a.borrowing_sub(*b, borrow);
    }
    (difference, borrow)
}

/// `1/a`: `a^(P-2)`.
fn invert(a: &Element) -> Element {
    let exponent = [P[0] - 2, P[1], P[2], P[3]];
    let mut power = ONE;
    for word in exponent.iter().rev() {
        for bit in (0..u64::BITS).rev() {
            power = times(&power, &power);
            if word >> bit & 1 == 1 {
                power = times(&power, a);
            }
        }
    }
    power
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::digest::{SHA256, digest};

    /// SHA-256 of the constant in ring's source.
    const DIGEST: &[u8] = b"\xe3\x73\x12\x4f\x67\xe1\x4a\x9d\xee\xb7\xa3\x34\xcf\x17\xb3\xf0\
        \xbc\xc2\x62\x49\x90\x61\xa3\x37\x77\x88\xa3\x57\x57\x0e\x70\xd2";

    #[test]
    fn it_is_rings() {
        let mut table = vec![0; ROWS * POINTS * 8];
        fill(&mut table);
        // The second point of the first row, and all of it, as `p256-nistz-table.h` has them.
        assert_eq!(table[8..10], [0x850046d410ddd64d, 0xaa6ae3c1a433827d]);
        let bytes: Vec<u8> = table.iter().flat_map(|word| word.to_le_bytes()).collect();
        let of_all = digest(&SHA256, &bytes);
        assert_eq!(of_all.as_ref(), DIGEST);
    }

    #[test]
    fn the_known_key_is_one() {
        let random = SystemRandom::new();
        let is_key = |public: &[u8]| {
            let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
            EcdsaKeyPair::from_private_key_and_public_key(algorithm, &KNOWN, public, &random)
                .is_ok()
        };
        assert!(is_key(&KNOWN_PUBLIC));
        let other = GENERATOR; // of the private key 1
        let words = other.as_flattened();
        assert!(!is_key(
            &words
                .iter()
                .flat_map(|word| word.to_be_bytes())
                .collect::<Vec<_>>()
        ));
    }
}
