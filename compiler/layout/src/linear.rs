//! [`Layout`]: bases per register, lane and warp bit, and repeats.
//!
//! Invariants ([`Layout::check`]): a basis is zero or moves along exactly one dimension by a power of two; no two
//! bases make the same step; the steps along a dimension are 1, 2, 4, … without a gap. So a coordinate is the
//! *sum* (equally: the XOR) of its steps, and the thread's part and the register's part of an address separate.

/// A step in tile coordinates, one entry per dimension.
pub type Basis = Vec<u32>;

/// Where each register of each thread lies in a tile.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Layout {
    /// Steps of the register bits, lowest first.
    pub register: Vec<Basis>,
    /// Steps of the five lane bits.
    pub lane: Vec<Basis>,
    /// Steps of the warp bits.
    pub warp: Vec<Basis>,
    /// How often the block is repeated along each dimension; the last dimension is repeated fastest.
    pub reps: Vec<u32>,
}

impl Layout {
    pub fn rank(&self) -> usize {
        self.reps.len()
    }

    /// Size of the block that the bits cover, along one dimension.
    pub fn block(&self, dim: usize) -> u32 {
        1 + self.bases().map(|b| b[dim]).sum::<u32>()
    }

    /// Positions covered along one dimension; at least the tile's extent there.
    pub fn coverage(&self, dim: usize) -> u32 {
        self.block(dim) * self.reps[dim]
    }

    fn bases(&self) -> impl Iterator<Item = &Basis> {
        self.register.iter().chain(&self.lane).chain(&self.warp)
    }

    pub fn warps(&self) -> u32 {
        1 << self.warp.len()
    }

    /// Registers of one thread.
    pub fn registers(&self) -> usize {
        (1usize << self.register.len()) * self.reps.iter().product::<u32>() as usize
    }

    /// The register's part of the coordinate.
    pub fn register_offset(&self, register: usize) -> Vec<u32> {
        let bits = self.register.len();
        let mut at = vec![0; self.rank()];
        add_bits(&mut at, &self.register, (register & ((1 << bits) - 1)) as u32);
        let mut rep = (register >> bits) as u32;
        for dim in (0..self.rank()).rev() {
            at[dim] += rep % self.reps[dim] * self.block(dim);
            rep /= self.reps[dim];
        }
        at
    }

    /// The register whose part of the coordinate is `offset`.
    pub fn find_register(&self, offset: &[u32]) -> Option<usize> {
        let mut rep = 0usize;
        let mut rest = vec![0; self.rank()];
        for dim in 0..self.rank() {
            let block = self.block(dim);
            let at = offset[dim] / block;
            if at >= self.reps[dim] {
                return None;
            }
            rep = rep * self.reps[dim] as usize + at as usize;
            rest[dim] = offset[dim] % block;
        }
        let mut register = 0;
        for (bit, basis) in self.register.iter().enumerate() {
            if let Some(dim) = basis.iter().position(|&s| s != 0)
                && rest[dim] & basis[dim] != 0
            {
                rest[dim] -= basis[dim];
                register |= 1 << bit;
            }
        }
        rest.iter().all(|&r| r == 0).then_some(register | rep << self.register.len())
    }

    pub fn coordinate(&self, register: usize, lane: u32, warp: u32) -> Vec<u32> {
        let mut at = self.register_offset(register);
        add_bits(&mut at, &self.lane, lane);
        add_bits(&mut at, &self.warp, warp);
        at
    }

    /// The inverse of [`Self::coordinate`]; of several holders the one with free bits zero. `None` outside.
    pub fn owner(&self, at: &[u32]) -> Option<(usize, u32, u32)> {
        let mut rest = at.to_vec();
        let mut take = |bases: &[Basis]| {
            let mut value = 0;
            for (bit, basis) in bases.iter().enumerate() {
                if let Some(dim) = basis.iter().position(|&s| s != 0)
                    && rest[dim] & basis[dim] != 0
                {
                    rest[dim] -= basis[dim];
                    value |= 1u32 << bit;
                }
            }
            value
        };
        let (lane, warp) = (take(&self.lane), take(&self.warp));
        Some((self.find_register(&rest)?, lane, warp))
    }

    /// Steps along `keep`-less dimensions become zero, registers along them are dropped: the layout of a reduction's
    /// result, or of an operand that stretches.
    pub fn project(&self, keep: &[bool]) -> Layout {
        let cut = |b: &Basis| -> Basis { b.iter().zip(keep).map(|(&s, &k)| if k { s } else { 0 }).collect() };
        Layout {
            register: self.register.iter().map(cut).filter(|b| b.iter().any(|&s| s != 0)).collect(),
            lane: self.lane.iter().map(cut).collect(),
            warp: self.warp.iter().map(cut).collect(),
            reps: self.reps.iter().zip(keep).map(|(&r, &k)| if k { r } else { 1 }).collect(),
        }
    }

    /// Output dimension `n` is input dimension `from[n]`, or a new one of extent 1. Dropped dimensions must be 1.
    pub fn relabel(&self, from: &[Option<usize>]) -> Layout {
        let map = |b: &Basis| -> Basis { from.iter().map(|f| f.map_or(0, |d| b[d])).collect() };
        Layout {
            register: self.register.iter().map(map).collect(),
            lane: self.lane.iter().map(map).collect(),
            warp: self.warp.iter().map(map).collect(),
            reps: from.iter().map(|f| f.map_or(1, |d| self.reps[d])).collect(),
        }
    }

    /// Lane bits on which nothing depends: their lanes hold the same elements.
    pub fn free_lanes(&self) -> u32 {
        free_bits(&self.lane)
    }

    pub fn free_warps(&self) -> u32 {
        free_bits(&self.warp)
    }

    /// How many registers in a row, from an aligned one, lie next to each other along `dim`.
    pub fn contiguous(&self, dim: usize) -> u32 {
        let mut width = 1;
        for basis in &self.register {
            let steps_here = basis.iter().enumerate().all(|(d, &s)| s == if d == dim { width } else { 0 });
            if !steps_here {
                break;
            }
            width *= 2;
        }
        width
    }

    /// The invariants of the file header.
    pub fn check(&self) -> Result<(), String> {
        if self.lane.len() != 5 {
            return Err(format!("{} lane bits instead of 5", self.lane.len()));
        }
        for dim in 0..self.rank() {
            let mut steps: Vec<u32> = self.bases().map(|b| b[dim]).filter(|&s| s != 0).collect();
            steps.sort_unstable();
            if steps.iter().enumerate().any(|(n, &s)| s != 1 << n) {
                return Err(format!("steps {steps:?} along dimension {dim} are not 1, 2, 4, …"));
            }
        }
        let skew = self.bases().any(|b| b.iter().filter(|&&s| s != 0).count() > 1);
        if skew { Err("a basis moves along two dimensions".into()) } else { Ok(()) }
    }
}

impl std::fmt::Display for Layout {
    /// `reg [0,1 8,0] lane [0,2 0,4 1,0 2,0 4,0] warp [16,0 32,0] x1,8`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let list = |bases: &[Basis]| {
            let steps: Vec<String> =
                bases.iter().map(|b| b.iter().map(u32::to_string).collect::<Vec<_>>().join(",")).collect();
            format!("[{}]", steps.join(" "))
        };
        let reps: Vec<String> = self.reps.iter().map(u32::to_string).collect();
        let (reg, lane, warp) = (list(&self.register), list(&self.lane), list(&self.warp));
        write!(f, "reg {reg} lane {lane} warp {warp} x{}", reps.join(","))
    }
}

fn add_bits(at: &mut [u32], bases: &[Basis], value: u32) {
    for (bit, basis) in bases.iter().enumerate() {
        if value >> bit & 1 == 1 {
            at.iter_mut().zip(basis).for_each(|(a, s)| *a += s);
        }
    }
}

fn free_bits(bases: &[Basis]) -> u32 {
    let free = |b: &Basis| b.iter().all(|&s| s == 0);
    bases.iter().enumerate().filter(|(_, b)| free(b)).fold(0, |m, (n, _)| m | 1 << n)
}
