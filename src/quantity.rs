//! Quantities as Kubernetes reads them: `1000m` is 1, `1Gi` is 1073741824.

use serde_json::Value as Json;

/// The number that a quantity stands for; `None` where it is none.
pub fn parse(value: &Json) -> Option<f64> {
    match value {
        Json::Number(number) => number.as_f64(),
        Json::String(text) => parse_text(text.trim()),
        _ => None,
    }
}

/// The same of a quantity that is written as text.
pub fn parse_text(text: &str) -> Option<f64> {
    // Exponents (`12e6`) are read as part of the number; `E` alone is the suffix for 10^18.
    if let Some((number, exponent)) = text.split_once(['e', 'E'])
        && let Ok(exponent) = exponent.parse::<i32>()
    {
        return decimal(number).map(|number| number * 10f64.powi(exponent));
    }
    let split = text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '+' | '-'))).unwrap_or(text.len());
    let factor = match &text[split..] {
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "" => 1.0,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 1024f64,
        "Mi" => 1024f64.powi(2),
        "Gi" => 1024f64.powi(3),
        "Ti" => 1024f64.powi(4),
        "Pi" => 1024f64.powi(5),
        "Ei" => 1024f64.powi(6),
        _ => return None,
    };
    decimal(&text[..split]).map(|number| number * factor)
}

fn decimal(text: &str) -> Option<f64> {
    text.chars().any(|c| c.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// Whether two quantities are the same amount.
pub fn same(a: &Json, b: &Json) -> bool {
    match (parse(a), parse(b)) {
        (Some(a), Some(b)) => (a - b).abs() <= f64::EPSILON * 4.0 * a.abs().max(b.abs()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn one_amount_written_in_two_ways_is_the_same() {
        for (a, b) in [
            (json!("1000m"), json!("1")),
            (json!("1"), json!(1)),
            (json!("1Gi"), json!("1024Mi")),
            (json!("0.5"), json!("500m")),
            (json!("1e3"), json!("1k")),
            (json!("128974848"), json!("123Mi")),
            (json!("100u"), json!("0.1m")),
        ] {
            assert!(same(&a, &b), "{a} {b}");
        }
        for (a, b) in
            [(json!("1Gi"), json!("1G")), (json!("x"), json!("x")), (json!(""), json!(0)), (json!("1Q"), json!(1))]
        {
            assert!(!same(&a, &b), "{a} {b}");
        }
    }
}
