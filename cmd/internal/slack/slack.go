// Package slack has the kernel be coarse with the timers of a program.
//
// Go's runtime looks after a program that is at work with a thread that sleeps for
// 20 µs at a time. A milter behind a busy MTA is at work for some hundred
// microseconds, thousands of times a second, and up to a tenth of its CPU time went
// into that thread's sleeping and waking. The kernel may let a sleep be longer by a
// thread's timer slack, 50 µs unless somebody says otherwise (prctl(2),
// PR_SET_TIMERSLACK). With more of it that thread wakes less often; all other timers
// of the daemon count in milliseconds and do not feel it.
package slack
