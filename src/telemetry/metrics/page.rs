//! A page of figures, as Prometheus reads it.
//!
//! Owns the order (as they are added) and the text, which the prometheus crate writes. Whoever adds brings a family of
//! [`super::table`], and a value for each of its labels.

use super::table::{Family, Type};
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Encoder, TextEncoder};
use quell_engine::spread::Spread;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Page(Vec<MetricFamily>);

impl Page {
    /// How often something happened.
    pub(super) fn count(&mut self, family: &Family, labels: &[&str], count: u64) {
        self.add(family, labels, count as f64);
    }

    /// Whether it is so.
    pub(super) fn flag(&mut self, family: &Family, labels: &[&str], is_so: bool) {
        self.add(family, labels, f64::from(u8::from(is_so)));
    }

    /// A number.
    pub(super) fn add(&mut self, family: &Family, labels: &[&str], value: f64) {
        let mut metric = labelled(family, labels);
        match family.kind {
            Type::Counter => {
                let mut counter = Counter::default();
                counter.set_value(value);
                metric.set_counter(counter);
            }
            Type::Gauge => {
                let mut gauge = Gauge::default();
                gauge.set_value(value);
                metric.set_gauge(gauge);
            }
            Type::Histogram => unreachable!("`{}` is added by `spread`", family.name),
        }
        self.put(family, metric);
    }

    /// How spans are spread.
    pub(super) fn spread(&mut self, family: &Family, labels: &[&str], spread: &Spread) {
        let bucket = |(bound, count): (std::time::Duration, u64)| {
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(bound.as_secs_f64());
            bucket.set_cumulative_count(count);
            bucket
        };
        let mut histogram = Histogram::default();
        histogram.set_bucket(spread.up_to().map(bucket).collect());
        histogram.set_sample_count(spread.count());
        histogram.set_sample_sum(spread.sum().as_secs_f64());
        let mut metric = labelled(family, labels);
        metric.set_histogram(histogram);
        self.put(family, metric);
    }

    fn put(&mut self, family: &Family, metric: Metric) {
        if let Some(known) = self.0.iter_mut().rev().find(|known| known.name() == family.name) {
            return known.mut_metric().push(metric);
        }
        let mut new = MetricFamily::default();
        new.set_name(family.name.to_owned());
        new.set_help(family.help.to_owned());
        new.set_field_type(match family.kind {
            Type::Counter => MetricType::COUNTER,
            Type::Gauge => MetricType::GAUGE,
            Type::Histogram => MetricType::HISTOGRAM,
        });
        new.set_metric(vec![metric]);
        self.0.push(new);
    }

    /// The text.
    pub(super) fn text(&self) -> String {
        let mut text = Vec::new();
        TextEncoder::new()
            .encode(&self.0, &mut text)
            .expect("each family has a name and a value, and memory takes them");
        String::from_utf8(text).expect("names, labels and numbers are text")
    }
}

fn labelled(family: &Family, labels: &[&str]) -> Metric {
    assert_eq!(family.labels.len(), labels.len(), "`{}` has these labels: {:?}", family.name, family.labels);
    let pair = |(name, value): (&&str, &&str)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    };
    Metric::from_label(family.labels.iter().zip(labels).map(pair).collect())
}
