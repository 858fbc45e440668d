//! Handles of the series that calls touch: to have one made, or found, by its labels costs several times
//! what it counts, and a call touches a dozen.

use metrics::{Counter, Gauge, counter, gauge};
use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher as _, RandomState};

/// Labels are bounded by the configuration (docs/operations/metrics.md); beyond this, handles are made anew
/// each time.
const KEPT_MAX: usize = 65_536;

/// A label and its value.
type Label<'l> = (&'static str, &'l str);

/// The handles of counters and gauges.
#[derive(Debug, Default)]
pub(super) struct Handles {
    counters: Kept<Counter>,
    gauges: Kept<Gauge>,
}

impl Handles {
    /// The counter of this name and these labels.
    pub(super) fn counter(&mut self, name: &'static str, labels: &[Label<'_>]) -> Counter {
        self.counters.of(name, labels, |labels| counter!(name, labels))
    }

    /// The gauge of this name and these labels.
    pub(super) fn gauge(&mut self, name: &'static str, labels: &[Label<'_>]) -> Gauge {
        self.gauges.of(name, labels, |labels| gauge!(name, labels))
    }
}

/// Handles of one kind by a hash of name and labels.
#[derive(Debug)]
struct Kept<H> {
    hasher: RandomState,
    by_hash: HashMap<u64, Series<H>>,
}

#[derive(Debug)]
struct Series<H> {
    name: &'static str,
    labels: Owned,
    handle: H,
}

/// Labels as the recorder takes them.
type Owned = Vec<(&'static str, String)>;

impl<H> Default for Kept<H> {
    fn default() -> Self {
        Self { hasher: RandomState::new(), by_hash: HashMap::new() }
    }
}

impl<H: Clone> Kept<H> {
    fn of(
        &mut self,
        name: &'static str,
        labels: &[Label<'_>],
        make: impl FnOnce(&Owned) -> H,
    ) -> H {
        let hash = self.hash(name, labels);
        let known = self.by_hash.get(&hash);
        if let Some(series) = known
            && series.name == name
            && labels.iter().copied().eq(series.labels.iter().map(|(l, v)| (*l, v.as_str())))
        {
            return series.handle.clone();
        }
        let is_new = known.is_none();
        let labels = labels.iter().map(|(label, value)| (*label, (*value).to_owned())).collect();
        let handle = make(&labels);
        if is_new && self.by_hash.len() < KEPT_MAX {
            self.by_hash.insert(hash, Series { name, labels, handle: handle.clone() });
        }
        handle
    }

    fn hash(&self, name: &str, labels: &[Label<'_>]) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        for text in [name].into_iter().chain(labels.iter().flat_map(|(l, v)| [*l, *v])) {
            hasher.write(text.as_bytes());
            hasher.write_u8(0xff);
        }
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use metrics::{Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
    use metrics_exporter_prometheus::PrometheusBuilder;
    use std::cell::Cell;

    /// Counts how often a handle is asked for.
    #[derive(Default)]
    struct Asked(Cell<usize>);

    impl Recorder for Asked {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
            self.0.set(self.0.get() + 1);
            Counter::noop()
        }
        fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
            self.0.set(self.0.get() + 1);
            Gauge::noop()
        }
        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::noop()
        }
    }

    #[test]
    fn a_series_is_looked_up_anew_by_each_call() {
        let recorder = Asked::default();
        metrics::with_local_recorder(&recorder, || {
            let mut handles = Handles::default();
            for _ in 0..10 {
                for trunk in ["a", "b"] {
                    handles.counter("calls_total", &[("trunk", trunk)]).increment(1);
                    handles.gauge("calls", &[("trunk", trunk)]).increment(1.0);
                }
            }
        });
        assert_eq!(recorder.0.get(), 4);
    }

    #[test]
    fn two_series_are_counted_as_one() {
        let recorder = PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            let mut handles = Handles::default();
            for _ in 0..2 {
                handles.counter("calls_total", &[("trunk", "a"), ("to", "b")]).increment(1);
                handles.counter("calls_total", &[("trunk", "ab"), ("to", "")]).increment(3);
                handles.counter("rings_total", &[("trunk", "a"), ("to", "b")]).increment(5);
            }
            handles.gauge("calls", &[("trunk", "a")]).increment(7.0);
            handles.gauge("calls", &[("trunk", "a")]).decrement(2.0);
        });
        let said = recorder.handle().render();
        for line in [
            "calls_total{trunk=\"a\",to=\"b\"} 2",
            "calls_total{trunk=\"ab\",to=\"\"} 6",
            "rings_total{trunk=\"a\",to=\"b\"} 10",
            "calls{trunk=\"a\"} 5",
        ] {
            assert!(said.lines().any(|it| it == line), "{line} in\n{said}");
        }
    }
}
