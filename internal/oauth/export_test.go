package oauth

// PollWith is Poll by a wall clock of the test's own.
var PollWith = pollDevice
