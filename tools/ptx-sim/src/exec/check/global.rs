//! The shadow of global memory, a page at a time as it is touched.

use std::collections::HashMap;

/// Cells of one page: 4 KiB of memory.
const CELLS: u64 = 256;

#[derive(Default)]
pub struct Pages<T> {
    index: HashMap<u64, u32>,
    pages: Vec<Box<[T]>>,
    /// The page used last, and its number.
    last: Option<(u64, u32)>,
}

impl<T: Clone + Default> Pages<T> {
    #[inline]
    pub fn cell(&mut self, granule: u64) -> &mut T {
        let page = granule / CELLS;
        let number = match self.last {
            Some((p, n)) if p == page => n,
            _ => {
                let fresh = self.pages.len() as u32;
                let n = *self.index.entry(page).or_insert(fresh);
                if n == fresh {
                    self.pages.push(vec![T::default(); CELLS as usize].into_boxed_slice());
                }
                self.last = Some((page, n));
                n
            }
        };
        &mut self.pages[number as usize][(granule % CELLS) as usize]
    }
}
