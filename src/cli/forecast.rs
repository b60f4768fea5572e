//! How forecasts look to people, before and after.

use std::time::Duration;

use crate::ops::forecast::{Forecast, ForecastOutcome, StepForecast};
use crate::text::{elapsed, plural};
use crate::ui::{Mark, Page};

/// `about 8 min 20 s, by 3 runs`
pub(super) fn line(forecast: Option<&Forecast>) -> Option<String> {
    let forecast = forecast?;
    let runs = plural(forecast.runs as u64, "run");
    Some(match (forecast.milliseconds(), forecast.unknown().is_empty()) {
        (Some(known), true) => format!("about {}, by {runs}", took(known)),
        (Some(known), false) => format!("at least {}, by {runs}", took(known)),
        (None, _) => "how long is not known: no earlier run".to_owned(),
    })
}

/// Every step of it, where all is to be shown.
pub(super) fn steps(page: &mut Page, forecast: Option<&Forecast>) {
    let Some(forecast) = forecast.filter(|forecast| page.is_verbose() && forecast.milliseconds().is_some()) else {
        return;
    };
    page.gap();
    let row = |step: &StepForecast| {
        let by = if step.by_size { "by the size of the database" } else { "" };
        let time = step.milliseconds.map_or_else(|| "not known".to_owned(), took);
        vec![step.step.clone(), time, by.to_owned()]
    };
    let rows: Vec<Vec<String>> = forecast.steps.iter().map(row).collect();
    page.table(&["step", "will take", "scaled"], &rows);
}

/// How wrong it was.
pub(super) fn outcome(page: &mut Page, outcome: Option<&ForecastOutcome>) {
    let Some(outcome) = outcome else { return };
    let off = match outcome.percent() {
        None | Some(0) => String::new(),
        Some(more @ 1..) => format!(", {more} % more"),
        Some(less) => format!(", {} % less", less.unsigned_abs()),
    };
    let furthest = outcome.furthest().map_or(String::new(), |step| {
        let (forecast, came) = (took(step.forecast_milliseconds), took(step.took_milliseconds));
        format!("; furthest off was {}: {forecast} forecast, {came} taken", step.step)
    });
    let (forecast, came) = (took(outcome.forecast_milliseconds), took(outcome.took_milliseconds));
    let runs = plural(outcome.runs as u64, "run");
    page.finding(Mark::Ok, &format!("forecast by {runs} was {forecast}, and it took {came}{off}{furthest}"), None);
}

fn took(milliseconds: u64) -> String {
    elapsed(Duration::from_millis(milliseconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::forecast::StepOutcome;

    #[test]
    fn what_is_known_of_the_time_is_said_before_and_how_wrong_it_was_afterwards() {
        let step =
            |name: &str, milliseconds| StepForecast { step: name.into(), milliseconds, by_size: name == "stage" };
        let of = |runs, steps| line(Some(&Forecast { runs, steps })).unwrap();
        assert_eq!(line(None), None);
        assert_eq!(of(0, vec![step("stage", None)]), "how long is not known: no earlier run");
        let known = vec![step("stage", Some(80_000)), step("wake", Some(5_000))];
        assert_eq!(of(3, known.clone()), "about 1 min 25 s, by 3 runs");
        let partly = [known.clone(), vec![step("new", None)]].concat();
        assert_eq!(of(1, partly), "at least 1 min 25 s, by 1 run");
        let mut page = Page::new(None).verbose(true);
        steps(&mut page, Some(&Forecast { runs: 3, steps: known }));
        assert!(page.plain().contains("stage\t1 min 20 s\tby the size of the database"), "{}", page.plain());
        let came = |took: u64| ForecastOutcome {
            runs: 3,
            forecast_milliseconds: 80_000,
            took_milliseconds: took,
            steps: vec![StepOutcome { step: "stage".into(), forecast_milliseconds: 80_000, took_milliseconds: took }],
        };
        let said = |took| {
            let mut page = Page::new(None);
            outcome(&mut page, Some(&came(took)));
            page.plain().trim_end().to_owned()
        };
        let ends = "; furthest off was stage: 1 min 20 s forecast, 1 min 0 s taken";
        assert!(
            said(60_000).ends_with(&format!("1 min 20 s, and it took 1 min 0 s, 25 % less{ends}")),
            "{}",
            said(60_000)
        );
        assert!(
            said(80_000).ends_with("forecast by 3 runs was 1 min 20 s, and it took 1 min 20 s"),
            "{}",
            said(80_000)
        );
    }
}
