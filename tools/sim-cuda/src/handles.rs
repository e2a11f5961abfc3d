//! Handles: numbers that stand for the library's own objects, checked at each use.
//!
//! The API's handles are pointers to opaque structures. Here they are numbers outside of every address space (bit 59
//! set, which no canonical pointer of user space has), with the kind of object and a serial number that is never used
//! twice. So a handle that was destroyed, of another kind, or invented, is INVALID_HANDLE and no crash.

use crate::errors::{Error, INVALID_HANDLE};
use std::collections::BTreeMap;

pub type Handle = u64;

/// No pointer has this bit.
const MARK: u64 = 1 << 59;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Context = 1,
    Stream,
    Event,
    Module,
    Function,
    Pool,
    Graph,
    GraphExec,
}

/// Live objects of one kind.
pub struct Table<T> {
    kind: Kind,
    serial: u64,
    items: BTreeMap<Handle, T>,
}

impl<T> Table<T> {
    pub const fn new(kind: Kind) -> Table<T> {
        Table { kind, serial: 0, items: BTreeMap::new() }
    }

    pub fn insert(&mut self, item: T) -> Handle {
        self.serial += 1;
        let handle = MARK | (self.kind as u64) << 48 | self.serial;
        self.items.insert(handle, item);
        handle
    }

    pub fn get(&self, handle: Handle) -> Result<&T, Error> {
        self.items.get(&handle).ok_or(INVALID_HANDLE)
    }

    pub fn get_mut(&mut self, handle: Handle) -> Result<&mut T, Error> {
        self.items.get_mut(&handle).ok_or(INVALID_HANDLE)
    }

    pub fn remove(&mut self, handle: Handle) -> Result<T, Error> {
        self.items.remove(&handle).ok_or(INVALID_HANDLE)
    }

    pub fn iter(&self) -> impl Iterator<Item = (Handle, &T)> {
        self.items.iter().map(|(&h, t)| (h, t))
    }

    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.items.values_mut()
    }

    /// Drops what does not fulfil a condition.
    pub fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        self.items.retain(|_, t| keep(t));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_is_good_for_its_own_object_alone() {
        let (mut a, mut b) = (Table::new(Kind::Stream), Table::new(Kind::Event));
        let (x, y) = (a.insert("x"), b.insert("y"));
        assert_eq!((a.get(x), b.get(x)), (Ok(&"x"), Err(INVALID_HANDLE)));
        assert_eq!(a.get(y), Err(INVALID_HANDLE));
        assert_eq!(a.remove(x), Ok("x"));
        assert_eq!(a.get(x), Err(INVALID_HANDLE));
        assert_ne!(a.insert("z"), x, "numbers are not used twice");
    }
}
