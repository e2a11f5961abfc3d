//! Equal things kept once: short sequences of words, each under a number.
//!
//! ```text
//! put [7, 0, 5]     1
//! put [7, 1, 5]     2
//! put [7, 0, 5]     1, there already
//! ```
//!
//! Number 0 is the empty sequence. Nothing is taken out singly; who wants to forget puts what is still of use into a fresh
//! table ([`super::shadow`] does so when its table has grown).

use hashbrown::HashTable;

pub struct Interner {
    words: Vec<u32>,
    /// Where each sequence begins, and the end of the last.
    starts: Vec<u32>,
    index: HashTable<u32>,
}

impl Default for Interner {
    fn default() -> Self {
        Interner { words: vec![], starts: vec![0, 0], index: HashTable::new() }
    }
}

impl Interner {
    #[inline]
    pub fn get(&self, id: u32) -> &[u32] {
        slice(&self.words, &self.starts, id)
    }

    /// The number of a sequence.
    pub fn put(&mut self, sequence: &[u32]) -> u32 {
        if sequence.is_empty() {
            return 0;
        }
        let (words, starts) = (&self.words, &self.starts);
        let hash = hash(sequence);
        if let Some(&id) = self.index.find(hash, |&id| slice(words, starts, id) == sequence) {
            return id;
        }
        let id = self.starts.len() as u32 - 1;
        extend(&mut self.words, sequence);
        extend(&mut self.starts, &[self.words.len() as u32]);
        let (words, starts) = (&self.words, &self.starts);
        self.index.insert_unique(hash, id, |&id| self::hash(slice(words, starts, id)));
        id
    }

    /// How many numbers are given, 0 included.
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// Memory that the table takes.
    pub fn bytes(&self) -> usize {
        4 * (self.words.capacity() + self.starts.capacity()) + self.index.allocation_size()
    }
}

fn slice<'a>(words: &'a [u32], starts: &[u32], id: u32) -> &'a [u32] {
    &words[starts[id as usize] as usize..starts[id as usize + 1] as usize]
}

/// Grows by an eighth, not by doubling: the memory is counted.
pub fn extend<T: Copy>(to: &mut Vec<T>, more: &[T]) {
    if to.capacity() - to.len() < more.len() {
        to.reserve_exact(more.len().max(to.len() / 8));
    }
    to.extend_from_slice(more);
}

fn hash(sequence: &[u32]) -> u64 {
    let mixed = sequence
        .iter()
        .fold(0u64, |h, &w| (h.rotate_left(5) ^ w as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed ^ mixed >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_sequences_have_one_number() {
        let mut table = Interner::default();
        let numbers: Vec<u32> = (0..100).map(|n| table.put(&[n % 10, 7])).collect();
        assert_eq!((table.put(&[]), table.len()), (0, 11));
        assert!((0..100).all(|n| numbers[n] == numbers[n % 10] && table.get(numbers[n]) == [n as u32 % 10, 7]));
        assert!(table.bytes() < 1024);
    }
}
