package oauth

// PollWith is PollDevice with another wall clock.
var PollWith = pollDevice
