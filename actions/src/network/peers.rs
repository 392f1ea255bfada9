//! Networks and ports as inputs write them.
//!
//! Keeps true: what cannot be read is told with what was expected.

use quell_model::{ActionError, CutRule, Net};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// More would be a list that nobody wrote by hand.
const MOST: usize = 4096;

/// Networks from their texts.
pub(super) fn nets(name: &str, texts: &[String]) -> Result<Vec<Net>, ActionError> {
    if texts.len() > MOST {
        return Err(ActionError::give_up(format!("`{name}` has {} networks; {MOST} are the most", texts.len())));
    }
    let read = |text: &String| text.parse().map_err(|why| ActionError::give_up(format!("`{name}`: {why}")));
    let mut nets = texts.iter().map(read).collect::<Result<Vec<Net>, _>>()?;
    nets.sort_unstable();
    nets.dedup();
    Ok(nets)
}

/// A port, or a range of them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Ports {
    /// One.
    One(u16),
    /// `8000-8100`, or one.
    Range(String),
}

impl Ports {
    fn range(&self) -> Option<(u16, u16)> {
        let (first, last) = match self {
            Self::One(port) => (*port, *port),
            Self::Range(text) => match text.split_once('-') {
                Some((first, last)) => (first.trim().parse().ok()?, last.trim().parse().ok()?),
                None => (text.trim().parse().ok()?, text.trim().parse().ok()?),
            },
        };
        (first > 0 && first <= last).then_some((first, last))
    }
}

/// The ranges that an order has room for.
pub(super) fn ranges(ports: &[Ports]) -> Result<Vec<(u16, u16)>, ActionError> {
    if ports.len() > CutRule::PORTS {
        let (has, most) = (ports.len(), CutRule::PORTS);
        return Err(ActionError::GiveUp {
            why: format!("`ports` has {has} ranges; {most} are the most"),
            hint: Some("several steps may block the same peer".to_owned()),
        });
    }
    let read = |one: &Ports| {
        one.range().ok_or_else(|| ActionError::GiveUp {
            why: format!("`ports`: {} is no port", serde_json::to_value(one).unwrap_or_default()),
            hint: Some("write `443`, or a range such as `8000-8100`, from 1 to 65535".to_owned()),
        })
    };
    ports.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ports_are_read_or_told() {
        let read = |value| ranges(&serde_json::from_value::<Vec<Ports>>(value).unwrap());
        assert_eq!(read(json!([443, "80", "8000-8100"])).unwrap(), [(443, 443), (80, 80), (8000, 8100)]);
        for wrong in [json!([0]), json!(["9-8"]), json!(["http"]), json!(["1-70000"])] {
            let Err(ActionError::GiveUp { why, hint }) = read(wrong) else { panic!("it is no port") };
            assert!(why.contains("is no port") && hint.unwrap().contains("8000-8100"), "{why}");
        }
        assert!(read(json!([1, 2, 3, 4, 5, 6, 7, 8, 9])).unwrap_err().to_string().contains("8 are the most"));
    }

    #[test]
    fn networks_are_read_once_each() {
        let texts = ["10.0.0.0/8", "10.0.0.0/8", "::1"].map(str::to_owned);
        assert_eq!(nets("allow", &texts).unwrap().len(), 2);
        let why = nets("allow", &["10.0.0.1/8".to_owned()]).unwrap_err().to_string();
        assert!(why.starts_with("`allow`: `10.0.0.1/8` has bits behind its prefix"), "{why}");
    }
}
