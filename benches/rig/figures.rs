//! Medians and percentiles.

/// The middle of the values, or the mean of the two in the middle; `None` if there are none.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let sorted = sorted(values);
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    Some(if sorted.len() % 2 == 1 { upper } else { f64::midpoint(sorted[middle - 1], upper) })
}

/// The smallest value that at least `percent` of all values do not exceed (nearest rank); `None` if there are none.
pub(crate) fn percentile(values: impl IntoIterator<Item = f64>, percent: f64) -> Option<f64> {
    let sorted = sorted(values);
    let rank = (percent / 100.0 * sorted.len() as f64).ceil().max(1.0) as usize;
    sorted.get(rank.min(sorted.len()).checked_sub(1)?).copied()
}

pub(crate) fn max(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    values.into_iter().max_by(f64::total_cmp)
}

fn sorted(values: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median([]), None);
    }

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let values = || (1..=200).map(f64::from);
        assert_eq!(percentile(values(), 50.0), Some(100.0));
        assert_eq!(percentile(values(), 99.0), Some(198.0));
        assert_eq!(percentile(values(), 100.0), Some(200.0));
        assert_eq!(percentile([7.0], 99.0), Some(7.0));
        assert_eq!(percentile([], 50.0), None);
    }

    #[test]
    fn the_largest_is_found() {
        assert_eq!(max([1.0, 3.0, 2.0]), Some(3.0));
        assert_eq!(max([]), None);
    }
}
