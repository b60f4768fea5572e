//! The command line: one thin file a verb group; arguments in, one operation called, one report out.
