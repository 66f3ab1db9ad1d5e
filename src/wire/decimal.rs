//! Decimal digits without the formatting machinery.

/// Appends `value` in decimal digits.
pub fn push(out: &mut Vec<u8>, value: u64) {
    let mut digits = [0; 20];
    let mut left = value;
    let mut start = digits.len();
    for (at, slot) in digits.iter_mut().enumerate().rev() {
        *slot = b'0' + (left % 10) as u8;
        left /= 10;
        start = at;
        if left == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(start..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    #[test]
    fn digits_are_those_of_the_standard_library() {
        let mut random = fastrand::Rng::with_seed(5);
        for value in
            [0, 9, 10, u64::MAX].into_iter().chain((0..2000).map(|at| random.u64(..) >> (at % 64)))
        {
            let mut out = Vec::new();
            super::push(&mut out, value);
            assert_eq!(out, value.to_string().as_bytes());
        }
    }
}
