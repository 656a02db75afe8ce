//! Figures of the crate against those of NumPy, SciPy and Prometheus, and laws that hold for any readings.
//!
//! `README.md` describes the files of figures. [`data`] reads them, [`build`] makes partials of readings in several ways,
//! [`figures`] compares; [`laws`] and [`hostile`] are property tests.

#[cfg(test)]
mod build;
#[cfg(test)]
mod data;
#[cfg(test)]
mod figures;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod laws;
#[cfg(test)]
mod naive;
