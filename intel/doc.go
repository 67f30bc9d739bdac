// Package intel holds the words that everything else in Weir speaks: what a
// message can show (Observable), what is known (Indicator) and where the two
// meet (Hit).
//
// It owns canonical forms. A Value can only be made by a constructor that
// canonicalises, so an uncanonical one cannot exist, and two spellings of one
// thing compare equal wherever they meet: in a list file, in a message, in the
// journal. It holds no state, does no I/O and imports none of the rooms below it.
package intel
