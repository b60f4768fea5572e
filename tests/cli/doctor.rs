//! What doctor says of the cluster that it asks.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::writers::Site;

/// The header `Date` of an answer from a host whose clock is so many seconds ahead of this one's.
fn date(ahead: i64) -> String {
    let then = Timestamp::now() + SignedDuration::from_secs(ahead);
    jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&then).unwrap()
}

#[test]
fn clocks_that_differ_are_said_with_the_way_and_one_that_is_not_told_is_called_that() {
    let site = Site::stopped(json!({}));
    site.api.set_date(Some(date(0)));
    site.says(&["doctor"], 3, &["this host's clock and the API server's agree"]);
    for (ahead, way) in [(600, "behind"), (-600, "ahead of")] {
        site.api.set_date(Some(date(ahead)));
        let said = site.dr(&["doctor"], 3);
        let seconds = said.split_once("this host's clock is ").unwrap().1.split_once(' ').unwrap().0;
        let off = seconds.parse::<i64>().unwrap().abs_diff(600);
        assert!(off < 30 && said.contains(&format!("{seconds} s {way} the API server's -> set both by")), "{said}");
    }
    for none in [None, Some("yesterday"), Some("Mon, 31 Feb 2026 25:00:00 GMT"), Some("")] {
        site.api.set_date(none.map(str::to_owned));
        let said = site.dr(&["doctor"], 3);
        let untold =
            "warn cluster the API server's answers do not tell the time: this host's clock was not held against it";
        assert!(said.contains(untold) && !said.contains("agree"), "{said}");
    }
}

#[test]
fn a_watchdog_that_may_not_be_made_is_said_with_the_rights_that_are_missing() {
    let forbids = |request: &crate::api::Request, _: &mut crate::api::Objects| {
        let wanted = &request.body["spec"]["resourceAttributes"];
        let is_refused = request.path.ends_with("/selfsubjectaccessreviews")
            && wanted["resource"] == "rolebindings"
            && wanted["verb"] == "create";
        is_refused.then(|| {
            let mut review = request.body.clone();
            review["status"] = json!({"allowed": false});
            (201, review)
        })
    };
    let without = "a bundle run cannot make its watchdog, which would need: create rolebindings";
    let site = Site::stopped_with(Box::new(forbids), json!({}));
    let said = site.dr(&["doctor"], 3);
    assert!(said.contains(without) && said.contains("`dr rbac --subject user:NAME` prints the roles"), "{said}");
    let with = Site::stopped(json!({})).dr(&["doctor"], 3);
    assert!(!with.contains("watchdog"), "{with}");
}
