//! How the evidence of a run looks to people.

use crate::ops::evidence::{KeptEvidence, ProvedFact};
use crate::ui::{Mark, Page, Report};

impl Report for KeptEvidence {
    fn human(&self, page: &mut Page) {
        let row =
            |fact: &ProvedFact| vec![fact.what.clone(), fact.wanted.clone().unwrap_or_default(), fact.seen.clone()];
        let rows: Vec<Vec<String>> = self.document.proofs.iter().map(row).collect();
        page.table(&["proved", "had to be", "was seen"], &rows);
        for missing in &self.document.not_proved {
            page.finding(Mark::Warn, &format!("not proved: {missing}"), None);
        }
        let file = self.file.as_ref().map_or(String::new(), |file| format!(": {}", file.display()));
        match (&self.signed_by, &self.unsigned) {
            (Some(signer), _) => page.finding(Mark::Ok, &format!("evidence signed by {signer}{file}"), None),
            (None, why) => {
                let why = why.as_deref().unwrap_or("it is not signed");
                page.finding(Mark::Warn, &format!("evidence that counts as unsigned, for {why}{file}"), None);
            }
        }
    }
}
