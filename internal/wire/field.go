package wire

import "fmt"

// FieldError reports a problem with one field of a program's configuration.
// The command finds it with errors.As and names its own flag instead: its users
// do not know the fields.
type FieldError struct {
	Field string // as the program writes it, such as "Config.Issuer"
	Err   error  // the problem, in words that fit a field and a flag alike
}

// Field returns a FieldError. The arguments after field are those of
// fmt.Errorf.
func Field(field, format string, args ...any) error {
	return &FieldError{Field: field, Err: fmt.Errorf(format, args...)}
}

func (e *FieldError) Error() string { return e.Field + ": " + e.Err.Error() }

func (e *FieldError) Unwrap() error { return e.Err }
