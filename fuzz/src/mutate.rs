//! Small changes to inputs that follow from a seed: the same seed, the same inputs.

/// What often is at the edge of something.
const EDGES: [&[u8]; 24] = [
    b"\0",
    b"\xff",
    b"\xff\xff\xff\xff",
    b"\0\0\0\x04",
    b"\x7f\xff\xff\xff",
    b";",
    b"'",
    b"$$",
    b"/*",
    b"--\n",
    b"\"",
    b"(",
    b" UNION SELECT 1 ",
    b", (SELECT f(1)) ",
    b" RETURNING * ",
    b" INTO x ",
    b" FOR UPDATE ",
    b" WHERE a = ",
    b"; DELETE FROM t; ",
    b" AS (",
    b") ",
    b" $1 ",
    b" NOT ",
    b"\n",
];

/// Changes inputs, deterministically.
pub struct Mutator(u64);

impl Mutator {
    #[must_use]
    pub const fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number (splitmix64).
    fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.number() % (bound as u64).max(1)).unwrap_or(0)
    }

    /// One of the inputs with a few changes, some of them out of the others.
    pub fn change(&mut self, inputs: &[Vec<u8>]) -> Vec<u8> {
        let mut data = inputs.get(self.below(inputs.len())).cloned().unwrap_or_default();
        // Mostly one: what is changed much is soon nothing any more.
        let changes = if self.below(3) == 0 { 1 + self.below(4) } else { 1 };
        for _ in 0..changes {
            let (from, to) = self.range(&data);
            match self.below(13) {
                0 => {
                    let bit = 1 << self.below(8);
                    data.get_mut(from).into_iter().for_each(|byte| *byte ^= bit);
                }
                1 => drop(data.drain(from..to)),
                2 => {
                    let again = data[from..to].to_vec();
                    data.splice(to..to, again);
                }
                3 => drop(data.splice(from..from, EDGES[self.below(EDGES.len())].iter().copied())),
                4 => drop(data.splice(from..to, EDGES[self.below(EDGES.len())].iter().copied())),
                5 => {
                    let other = &inputs[self.below(inputs.len())];
                    let (start, end) = self.range(other);
                    data.splice(from..to, other[start..end].iter().copied());
                }
                6 => data.truncate(to),
                // Words change places more often than bytes.
                odd if odd % 2 == 1 => {
                    let other = &inputs[self.below(inputs.len())];
                    let (start, end) = self.range(other);
                    data.splice(from..to, other[start..end].iter().copied());
                }
                _ => drop(data.splice(from..from, EDGES[self.below(EDGES.len())].iter().copied())),
            }
        }
        data
    }

    /// A part of it: of words in three cases of four.
    fn range(&mut self, data: &[u8]) -> (usize, usize) {
        let words = self.below(4) > 0;
        let mut place = || {
            let at = self.below(data.len() + 1);
            let next = data.iter().skip(at).position(|byte| b" ,()\0".contains(byte));
            if words { next.map_or(data.len(), |next| at + next) } else { at }
        };
        let (one, other) = (place(), place());
        (one.min(other), one.max(other))
    }
}
