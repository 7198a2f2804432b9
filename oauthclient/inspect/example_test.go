package inspect_test

import (
	"context"
	"fmt"
	"log"

	"github.com/nativeoauth/nativeoauth/oauthclient/inspect"
	"github.com/nativeoauth/nativeoauth/oauthclient/oauthtest"
)

// A program tells its user what is wrong with a provider before it uses it. It shows
// the problems and the warnings.
func ExampleProvider() {
	server, err := oauthtest.Start(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()

	report, err := inspect.Provider(context.Background(), server.URL, nil)
	if err != nil {
		log.Fatal(err) // ctx has ended
	}
	fmt.Println("a native program can sign in:", report.Ready)
	for _, f := range report.Findings {
		if f.Level == inspect.Problem || f.Level == inspect.Warning {
			fmt.Printf("%s: %s: %s\n", f.Level, f.Area, f.Text)
		}
	}
	// Output: a native program can sign in: true
}
