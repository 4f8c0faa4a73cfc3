//! Questions about the first so many of a row of places, in logarithmic time (Fenwick trees).

/// The greatest value among the first places, and where it is.
#[derive(Debug)]
pub(super) struct Maxima(Vec<Option<(u64, usize)>>);

impl Maxima {
    /// So many places, without a value.
    pub(super) fn new(places: usize) -> Self {
        Self(vec![None; places])
    }

    /// Gives a place this value, unless it has a greater one.
    pub(super) fn raise(&mut self, place: usize, value: u64) {
        let mut node = place;
        while let Some(known) = self.0.get_mut(node) {
            *known = (*known).max(Some((value, place)));
            node |= node + 1;
        }
    }

    /// The greatest value among the first `count` places.
    pub(super) fn first(&self, count: usize) -> Option<(u64, usize)> {
        let mut best = None;
        let mut left = count.min(self.0.len());
        while left > 0 {
            best = best.max(self.0[left - 1]);
            left &= left - 1;
        }
        best
    }
}

/// How many things there are at the first places.
#[derive(Debug)]
pub(super) struct Counts {
    nodes: Vec<u64>,
    all: u64,
}

impl Counts {
    /// So many places, with nothing.
    pub(super) fn new(places: usize) -> Self {
        Self {
            nodes: vec![0; places],
            all: 0,
        }
    }

    /// One more at this place.
    pub(super) fn add(&mut self, place: usize) {
        self.all += 1;
        let mut node = place;
        while let Some(known) = self.nodes.get_mut(node) {
            *known += 1;
            node |= node + 1;
        }
    }

    /// How many at the first `count` places.
    pub(super) fn before(&self, count: usize) -> u64 {
        let mut sum = 0;
        let mut left = count.min(self.nodes.len());
        while left > 0 {
            sum += self.nodes[left - 1];
            left &= left - 1;
        }
        sum
    }

    /// How many in all.
    pub(super) fn all(&self) -> u64 {
        self.all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn trees_answer_as_rows_do(changes in prop::collection::vec((0_usize..20, 0_u64..50), 0..60)) {
            let (mut maxima, mut counts) = (Maxima::new(20), Counts::new(20));
            let (mut greatest, mut number) = ([None; 20], [0; 20]);
            for (place, value) in changes {
                maxima.raise(place, value);
                counts.add(place);
                greatest[place] = greatest[place].max(Some(value));
                number[place] += 1;
                for count in 0..=20 {
                    let most = greatest[..count].iter().copied().max().flatten();
                    prop_assert_eq!(maxima.first(count).map(|(value, _)| value), most);
                    prop_assert_eq!(counts.before(count), number[..count].iter().sum::<u64>());
                }
            }
            prop_assert_eq!(counts.all(), number.iter().sum::<u64>());
        }
    }
}
