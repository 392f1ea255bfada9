//! `telemetry` in quell.yaml: what quell tells of itself, and where to.
//!
//! Owns its keys. A collector's address is checked as far as it can be without asking for it.

use super::Reading;
use crate::load::reader::Fields;
use crate::load::yaml::Value;

/// Where a collector takes traces that says nothing else.
const TRACES: &str = "/v1/traces";

impl Reading<'_> {
    pub(super) fn telemetry(&mut self, top: &Fields<'_>) {
        let Some(fields) = self.section(top, "telemetry", &["metrics", "otlp"], &[]) else { return };
        if let Some(metrics) = self.flag(&fields, "metrics", "telemetry.metrics") {
            self.config.telemetry.metrics = metrics;
        }
        let Some(node) = self.at(&fields, "otlp", "telemetry.otlp") else { return };
        if node.value == Value::Null {
            return;
        }
        let Some(text) = self.reader.text(node, "`otlp`") else { return };
        match endpoint(text) {
            Ok(endpoint) => self.config.telemetry.otlp = Some(endpoint),
            Err(what) => self.reader.error(node.at, what, "a collector's address, like `http://127.0.0.1:4318`"),
        }
    }
}

/// The address that traces are sent to, or what is wrong with it.
fn endpoint(text: &str) -> Result<String, String> {
    let uri: http::Uri = text.parse().map_err(|error| format!("`{text}` is no address: {error}"))?;
    match uri.scheme_str() {
        Some("http") => {}
        Some("https") => {
            return Err(format!(
                "`{text}`: traces are sent by plain http, to a collector on this host or in its network, which can send them on"
            ));
        }
        _ => return Err(format!("`{text}` does not begin with `http://`")),
    }
    let authority = uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
    if authority.contains('@') {
        // The text is not repeated: it holds a secret.
        return Err("the address holds a user's name or password".to_owned());
    }
    let host = uri.host().unwrap_or_default();
    // The parser takes whatever stands after the `:`.
    let is_whole = authority == host || uri.port_u16().is_some_and(|port| port > 0);
    if host.is_empty() || !is_whole {
        return Err(format!("`{text}` names no host, or what is after its `:` is no port"));
    }
    if uri.query().is_some() {
        return Err(format!("`{text}` has a query"));
    }
    let path = match uri.path() {
        "" | "/" => TRACES,
        path => path,
    };
    Ok(format!("http://{authority}{path}"))
}

#[cfg(test)]
mod tests {
    use super::endpoint;
    use crate::load::config::config;
    use std::path::Path;

    #[test]
    fn an_address_is_completed_or_its_mistake_is_named() {
        let right = |text: &str| endpoint(text).unwrap();
        assert_eq!(right("http://127.0.0.1:4318"), "http://127.0.0.1:4318/v1/traces");
        assert_eq!(right("http://[::1]:4318/"), "http://[::1]:4318/v1/traces");
        assert_eq!(right("http://collector/otlp/v1/traces"), "http://collector/otlp/v1/traces");
        let wrong = [
            "localhost:4318",
            "grpc://x:4317",
            "https://x",
            "http://",
            "http://:4318",
            "http://x:",
            "http://x:port",
            "http://x:0",
            "http://x:65536",
            "http://x?a=b",
            "a b",
            "",
        ];
        for text in wrong {
            assert!(endpoint(text).is_err(), "{text}");
        }
        let secret = endpoint("http://me:hunter2@x").unwrap_err();
        assert!(!secret.contains("hunter2"), "{secret}");
    }

    #[test]
    fn its_mistakes_have_their_places() {
        let text = "telemetry:\n  metrics: 1\n  otlp: localhost:4318\n  traces: yes\n";
        let (config, mistakes) = config(Path::new("/q.yaml"), text);
        assert!(config.is_none());
        let places: Vec<String> = mistakes.iter().map(quell_model::Mistake::place).collect();
        assert_eq!(places, ["/q.yaml:2:12", "/q.yaml:3:9", "/q.yaml:4:3"]);
    }
}
