//! Questions about generic addresses, and what device functions read through them: the texts of `vprintf` and
//! `__assertfail`.

use super::{
    rows::{Rows, lanes},
    warp::Refused,
    world::{GENERIC_LOCAL, GENERIC_SHARED, World},
};
use crate::{fault::FaultKind, ir::*};

/// Size of the window of a space.
const WINDOW: u64 = 1 << 32;
/// A text longer than this is cut off.
const LONGEST_TEXT: usize = 4096;

/// `isspacep`.
pub fn is_space(r: &mut Rows, mask: u32, p: Pred, space: MemSpace, a: Slot) {
    let within = |base: u64, address: u64| (base..base + WINDOW).contains(&address);
    let holds = lanes(mask).fold(0, |out, lane| {
        let address = r.wide(a, lane);
        let hit = match space {
            MemSpace::Shared | MemSpace::SharedCluster => within(GENERIC_SHARED, address),
            MemSpace::Local => within(GENERIC_LOCAL, address),
            MemSpace::Param => address < WINDOW && address != 0,
            _ => address >= GENERIC_LOCAL + WINDOW,
        };
        out | (hit as u32) << lane
    });
    r.set_pred(p, holds, mask);
}

/// What texts are read from: the warp's local memory and everything else.
struct Texts<'a, 'b> {
    local: &'a [u8],
    m: &'a mut World<'b>,
}

impl Texts<'_, '_> {
    /// One byte, for messages: no fault, no trace.
    fn read_byte(&mut self, address: u64, lane: usize) -> Option<u8> {
        let place = self.m.place_bytes(MemSpace::Generic, address, 1, lane).ok()?;
        Some(self.m.load(self.local, place, 0, 1) as u8)
    }
}

/// Bytes at a generic address, up to a zero or to where nothing may be read.
fn text(m: &mut Texts, address: u64, lane: usize) -> Vec<u8> {
    let mut out = vec![];
    for n in 0..LONGEST_TEXT as u64 {
        match m.read_byte(address.wrapping_add(n), lane) {
            Some(0) | None => break,
            Some(byte) => out.push(byte),
        }
    }
    out
}

/// `__assertfail`: the fault of the first lane.
pub fn assertion(r: &Rows, mask: u32, op: &Op, local: &[u8], m: &mut World) -> Refused {
    let &Op::AssertFail { message, file, line, place } = op else {
        return (FaultKind::Trap, "assertion failed".into(), None);
    };
    let lane = mask.trailing_zeros() as usize & 31;
    let mut texts = Texts { local, m };
    let mut read = |slot| String::from_utf8_lossy(&text(&mut texts, r.wide(slot, lane), lane)).into_owned();
    let said = format!(
        "assertion failed: {} ({}:{}, {})",
        read(message),
        read(file),
        r.row(line)[lane],
        read(place)
    );
    (FaultKind::Trap, said, Some(lane as u32))
}

/// `vprintf`: what each lane prints, in order; the count of arguments goes to `d`.
pub fn print(
    r: &mut Rows,
    mask: u32,
    (d, format, arguments): (Slot, Slot, Slot),
    local: &[u8],
    m: &mut World,
) -> Vec<u8> {
    let mut out = vec![];
    let mut texts = Texts { local, m };
    for lane in lanes(mask) {
        let format = text(&mut texts, r.wide(format, lane), lane);
        let mut block = Arguments { at: r.wide(arguments, lane), lane, m: &mut texts };
        let count = formatted(&format, &mut block, &mut out);
        r.row_mut(d)[lane] = count;
    }
    out
}

/// The block of arguments, each aligned to its size.
struct Arguments<'t, 'a, 'b> {
    at: u64,
    lane: usize,
    m: &'t mut Texts<'a, 'b>,
}

impl Arguments<'_, '_, '_> {
    fn next(&mut self, bytes: u64) -> u64 {
        self.at = self.at.next_multiple_of(bytes);
        let value = (0..bytes).fold(0, |out, n| {
            out | (self.m.read_byte(self.at + n, self.lane).unwrap_or(0) as u64) << (8 * n)
        });
        self.at += bytes;
        value
    }
}

/// Follows a format of C's `printf`; how many conversions it held.
fn formatted(format: &[u8], arguments: &mut Arguments, out: &mut Vec<u8>) -> u32 {
    let mut count = 0;
    let mut rest = format;
    while let [byte, after @ ..] = rest {
        rest = after;
        if *byte != b'%' {
            out.push(*byte);
            continue;
        }
        let length = after.iter().position(|b| b"diouxXeEfFgGaAcsp%".contains(b));
        let Some(length) = length else { break };
        let (flags, conversion) = (&after[..length], after[length]);
        rest = &after[length + 1..];
        if conversion == b'%' {
            out.push(b'%');
            continue;
        }
        count += 1;
        out.extend_from_slice(converted(flags, conversion, arguments).as_bytes());
    }
    count
}

/// One conversion, with its width and precision.
fn converted(flags: &[u8], conversion: u8, arguments: &mut Arguments) -> String {
    let long = flags.contains(&b'l') || flags.iter().any(|b| b"jzt".contains(b));
    let spec: String = flags.iter().filter(|b| !b"lhjztL".contains(b)).map(|&b| b as char).collect();
    let left = spec.contains('-');
    let zeros = spec.starts_with('0') && !left;
    let mut number = |text: &str| match text {
        "*" => arguments.next(4) as i32 as i64 as usize,
        digits => digits.parse().unwrap_or(0),
    };
    let trimmed = spec.trim_start_matches(['-', '+', ' ', '#', '0']);
    let (width, precision) = trimmed.split_once('.').map_or((trimmed, None), |(w, p)| (w, Some(p)));
    let width = number(width).min(LONGEST_TEXT);
    let precision = precision.map(&mut number).map(|p| p.min(LONGEST_TEXT));
    let bytes = if long { 8 } else { 4 };
    let plus = |negative: bool| if !negative && spec.contains('+') { "+" } else { "" };
    let body = match conversion {
        b'd' | b'i' => {
            let raw = arguments.next(bytes);
            let value = if long { raw as i64 } else { raw as u32 as i32 as i64 };
            format!("{}{value}", plus(value < 0))
        }
        b'u' => arguments.next(bytes).to_string(),
        b'o' => format!("{:o}", arguments.next(bytes)),
        b'x' => format!("{}{:x}", if spec.contains('#') { "0x" } else { "" }, arguments.next(bytes)),
        b'X' => format!("{}{:X}", if spec.contains('#') { "0X" } else { "" }, arguments.next(bytes)),
        b'p' => format!("{:#x}", arguments.next(8)),
        b'c' => char::from(arguments.next(4) as u8).to_string(),
        b's' => {
            let at = arguments.next(8);
            String::from_utf8_lossy(&text(arguments.m, at, arguments.lane)).into_owned()
        }
        _ => {
            let value = f64::from_bits(arguments.next(8));
            let text = real(value, conversion, precision.unwrap_or(6));
            format!("{}{text}", plus(value.is_sign_negative()))
        }
    };
    match () {
        () if body.len() >= width => body,
        () if left => format!("{body:<width$}"),
        () if zeros => {
            let (sign, digits) = body.split_at(body.starts_with(['-', '+']) as usize);
            format!("{sign}{digits:0>fill$}", fill = width - sign.len())
        }
        () => format!("{body:>width$}"),
    }
}

/// `%f`, `%e`, `%g` of C.
fn real(value: f64, conversion: u8, precision: usize) -> String {
    if !value.is_finite() {
        return if value.is_nan() { "nan".into() } else { format!("{value}") };
    }
    match conversion {
        b'f' | b'F' => format!("{value:.precision$}"),
        b'e' | b'E' => exponential(value, precision),
        _ => {
            let precision = precision.max(1);
            let scientific = exponential(value, precision - 1);
            let exponent: i32 =
                scientific.rsplit_once('e').and_then(|(_, e)| e.parse().ok()).unwrap_or_default();
            let plain = (-4..precision as i32).contains(&exponent);
            let text = if plain {
                format!("{value:.places$}", places = (precision as i32 - 1 - exponent) as usize)
            } else {
                scientific
            };
            let (digits, tail) = match text.split_once('e') {
                Some((digits, tail)) => (digits, format!("e{tail}")),
                None => (&text[..], String::new()),
            };
            let digits = if digits.contains('.') {
                digits.trim_end_matches('0').trim_end_matches('.')
            } else {
                digits
            };
            format!("{digits}{tail}")
        }
    }
}

/// C writes at least two digits of exponent, and its sign.
fn exponential(value: f64, precision: usize) -> String {
    let text = format!("{value:.precision$e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    format!("{digits}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reals_as_c_writes_them() {
        assert_eq!(real(1.0, b'f', 6), "1.000000");
        assert_eq!(real(12345.678, b'e', 2), "1.23e+04");
        assert_eq!(real(0.0001, b'g', 6), "0.0001");
        assert_eq!(real(1e10, b'g', 6), "1e+10");
        assert_eq!(real(f64::NEG_INFINITY, b'f', 6), "-inf");
    }
}
