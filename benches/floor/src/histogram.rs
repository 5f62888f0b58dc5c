//! Every latency, in a flat array of one microsecond a cell.

const CELLS: usize = 100_000;

/// The histogram. What is longer than its end counts in the last cell.
pub struct Histogram {
    cells: Vec<u32>,
    count: u64,
}

impl Histogram {
    /// An empty one.
    pub fn new() -> Self {
        Histogram {
            cells: vec![0; CELLS],
            count: 0,
        }
    }

    /// Records a time.
    pub fn record(&mut self, ns: u64) {
        let cell = ((ns / 1_000) as usize).min(CELLS - 1);
        self.cells[cell] += 1;
        self.count += 1;
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.cells.fill(0);
        self.count = 0;
    }

    /// Times recorded.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// A quantile in microseconds.
    pub fn quantile(&self, q: f64) -> usize {
        let rank = (q * self.count as f64).ceil() as u64;
        let mut seen = 0;
        let place = self.cells.iter().position(|cell| {
            seen += u64::from(*cell);
            seen >= rank
        });
        place.unwrap_or(CELLS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_the_values_of_their_rank() {
        let mut histogram = Histogram::new();
        (1..=100).for_each(|us| histogram.record(us * 1_000));
        histogram.record(u64::MAX);
        assert_eq!(histogram.count(), 101);
        assert_eq!(histogram.quantile(0.5), 51);
        assert_eq!(histogram.quantile(0.99), 100);
        assert_eq!(histogram.quantile(1.0), CELLS - 1);
        histogram.clear();
        assert_eq!(histogram.count(), 0);
    }
}
