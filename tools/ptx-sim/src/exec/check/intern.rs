//! Equal things kept once: short sequences of words, each under a number.
//!
//! ```text
//! put [7, 0, 5]     1
//! put [7, 1, 5]     4
//! put [7, 0, 5]     1, there already
//! ```
//!
//! The number is the place of the sequence among all words, 0 that of none. A sequence says its own length, so that
//! nothing else is kept of it but a slot in an index of numbers.

use hashbrown::HashTable;

pub struct Interner {
    words: Vec<u32>,
    index: HashTable<u32>,
    /// The length of the sequence that these words begin with.
    length: fn(&[u32]) -> usize,
}

/// New numbers by old ones.
pub struct Moved(Vec<(u32, u32)>);

impl Moved {
    /// The new number of one that was kept.
    pub fn get(&self, old: u32) -> u32 {
        self.0.binary_search_by_key(&old, |m| m.0).map_or(0, |at| self.0[at].1)
    }

    pub fn bytes(&self) -> usize {
        self.0.capacity() * size_of::<(u32, u32)>()
    }
}

/// A set of numbers.
pub struct Marks(Vec<u64>);

impl Marks {
    pub fn set(&mut self, id: u32) {
        self.0[id as usize / 64] |= 1 << (id % 64);
    }

    pub fn has(&self, id: u32) -> bool {
        self.0[id as usize / 64] >> (id % 64) & 1 == 1
    }
}

impl Interner {
    pub fn new(length: fn(&[u32]) -> usize) -> Interner {
        Interner { words: vec![0], index: HashTable::new(), length }
    }

    #[inline]
    pub fn get(&self, id: u32) -> &[u32] {
        if id == 0 { &[] } else { slice(&self.words, self.length, id) }
    }

    /// The number of a sequence.
    pub fn put(&mut self, sequence: &[u32]) -> u32 {
        if sequence.is_empty() {
            return 0;
        }
        let (words, length) = (&self.words, self.length);
        let hash = hash(sequence);
        if let Some(&id) = self.index.find(hash, |&id| words[id as usize..].starts_with(sequence)) {
            return id;
        }
        let id = self.words.len() as u32;
        extend(&mut self.words, sequence);
        let words = &self.words;
        self.index.insert_unique(hash, id, |&id| self::hash(slice(words, length, id)));
        id
    }

    pub fn no_marks(&self) -> Marks {
        Marks(vec![0; self.words.len().div_ceil(64)])
    }

    /// Every number that is marked, with its sequence.
    pub fn marked(&self, marks: &Marks) -> impl Iterator<Item = &[u32]> {
        let mut at = 1;
        std::iter::from_fn(move || {
            while at < self.words.len() {
                let id = at as u32;
                at += (self.length)(&self.words[at..]);
                if marks.has(id) {
                    return Some(self.get(id));
                }
            }
            None
        })
    }

    /// Keeps what is marked, rewritten to something that is no longer, in the memory that is there.
    pub fn sweep(&mut self, marks: &Marks, mut rewrite: impl FnMut(&[u32], &mut Vec<u32>)) -> Moved {
        let (mut moved, mut fresh) = (vec![], vec![]);
        let (mut old, mut end) = (1, 1);
        self.index.clear();
        while old < self.words.len() {
            let id = old as u32;
            let length = (self.length)(&self.words[old..]);
            if marks.has(id) {
                fresh.clear();
                rewrite(&self.words[old..old + length], &mut fresh);
                let hash = hash(&fresh);
                let (words, length) = (&self.words[..end], self.length);
                let known = self.index.find(hash, |&id| words[id as usize..].starts_with(&fresh)).copied();
                let new = match known {
                    _ if fresh.is_empty() => 0,
                    Some(known) => known,
                    None => {
                        let new = end as u32;
                        self.words[end..end + fresh.len()].copy_from_slice(&fresh);
                        end += fresh.len();
                        let words = &self.words;
                        self.index.insert_unique(hash, new, |&id| self::hash(slice(words, length, id)));
                        new
                    }
                };
                moved.push((id, new));
            }
            old += length;
        }
        self.words.truncate(end);
        self.words.shrink_to(end + end / 8);
        let (words, length) = (&self.words, self.length);
        self.index.shrink_to_fit(|&id| self::hash(slice(words, length, id)));
        Moved(moved)
    }

    /// Memory that the table takes.
    pub fn bytes(&self) -> usize {
        4 * self.words.capacity() + self.index.allocation_size()
    }
}

fn slice(words: &[u32], length: fn(&[u32]) -> usize, id: u32) -> &[u32] {
    let from = &words[id as usize..];
    &from[..length(from)]
}

/// Grows by an eighth, not by doubling: the memory is counted.
pub fn extend<T: Copy>(to: &mut Vec<T>, more: &[T]) {
    if to.capacity() - to.len() < more.len() {
        to.reserve_exact(more.len().max(to.len() / 8));
    }
    to.extend_from_slice(more);
}

fn hash(sequence: &[u32]) -> u64 {
    let mixed =
        sequence.iter().fold(0u64, |h, &w| (h.rotate_left(5) ^ w as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed ^ mixed >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> (Interner, Vec<u32>) {
        let mut table = Interner::new(|words| words[0] as usize);
        let numbers = (0..100).map(|n| table.put(&[3, n % 10, 7])).collect();
        (table, numbers)
    }

    #[test]
    fn equal_sequences_have_one_number() {
        let (mut table, numbers) = table();
        assert_eq!(table.put(&[]), 0);
        assert!(
            (0..100).all(|n| numbers[n] == numbers[n % 10] && table.get(numbers[n]) == [3, n as u32 % 10, 7])
        );
        assert!(table.bytes() < 512);
    }

    #[test]
    fn what_is_swept_keeps_what_is_marked_and_joins_what_becomes_equal() {
        let (mut table, numbers) = table();
        let mut marks = table.no_marks();
        [2, 4, 5, 9].iter().for_each(|&n: &usize| marks.set(numbers[n]));
        assert_eq!(table.marked(&marks).map(|s| s[1]).collect::<Vec<_>>(), [2, 4, 5, 9]);
        // Halved, so that 4 and 5 are one; and 9 goes altogether.
        let moved = table.sweep(&marks, |words, out| match words[1] {
            9 => {}
            n => out.extend([2, n / 2]),
        });
        let new = [2, 4, 5, 9].map(|n: usize| moved.get(numbers[n]));
        assert_eq!(new, [1, 3, 3, 0]);
        assert_eq!((table.get(1), table.get(3)), (&[2, 1][..], &[2, 2][..]));
        assert_eq!(table.put(&[2, 2]), 3);
    }
}
