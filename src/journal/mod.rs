//! Runs: what a long verb intends, did and undid, on disk before and after each step.
