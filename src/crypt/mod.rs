//! Sealing (age) and signing (SSH signatures).
