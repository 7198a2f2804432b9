package main

import (
	"bytes"
	"errors"
	"image"
	"image/color"
	_ "image/jpeg"
	_ "image/png"
	"net/http"
	"time"

	"gioui.org/app"
	"gioui.org/font/gofont"
	"gioui.org/io/system"
	"gioui.org/layout"
	"gioui.org/op"
	"gioui.org/op/clip"
	"gioui.org/op/paint"
	"gioui.org/text"
	"gioui.org/unit"
	"gioui.org/widget"
	"gioui.org/widget/material"
)

var (
	blue = color.NRGBA{R: 0x1a, G: 0x56, B: 0xb0, A: 0xff} // of the button that goes on
	gray = color.NRGBA{R: 0x60, G: 0x68, B: 0x74, A: 0xff} // of the one that goes back
)

// titles tell the state in the task bar, too.
var titles = map[screen]string{
	signedOut: "Notes: signed out", signingIn: "Notes: signing in",
	signedIn: "Notes: signed in", ended: "Notes: sign in again",
}

// runWindow shows the window until the user closes it.
func (p *program) runWindow() error {
	var w app.Window
	w.Option(app.Title(titles[signedOut]), app.Size(380, 340))
	p.redraw = w.Invalidate
	p.raise = func() { w.Perform(system.ActionRaise) }
	theme := material.NewTheme()
	theme.Shaper = text.NewShaper(text.NoSystemFonts(), text.WithCollection(gofont.Collection()))
	page := page{program: p, theme: theme}
	var ops op.Ops
	for resumed, title := false, signedOut; ; {
		switch e := w.Event().(type) {
		case app.DestroyEvent:
			return e.Err
		case app.FrameEvent:
			if !resumed {
				resumed = true
				go p.resume()
			}
			gtx := app.NewContext(&ops, e)
			v := page.layout(gtx)
			e.Frame(gtx.Ops)
			if v.screen != title {
				title = v.screen
				w.Option(app.Title(titles[title]))
			}
		}
	}
}

// page lays out the window. Only the goroutine of the window uses it.
type page struct {
	*program
	theme         *material.Theme
	forward, back widget.Clickable
	picture       image.Image // of photo
	photo         paint.ImageOp
}

// layout acts on clicks, and draws what is to be shown now.
func (p *page) layout(gtx layout.Context) view {
	p.mu.Lock()
	v := p.view
	p.mu.Unlock()
	forward, back := "", ""
	var onForward, onBack func()
	switch v.screen {
	case signedOut:
		forward, onForward = "Sign in", p.signIn
	case signingIn:
		back, onBack = "Cancel", p.cancelSignIn
	case signedIn:
		forward, onForward = "Call the API", p.callAPI
		back, onBack = "Sign out", p.signOut
	case ended:
		forward, onForward = "Sign in again", p.signIn
		back, onBack = "Sign out", p.signOut
	}
	if p.forward.Clicked(gtx) && onForward != nil {
		go onForward()
	}
	if p.back.Clicked(gtx) && onBack != nil {
		go onBack()
	}
	layout.UniformInset(unit.Dp(20)).Layout(gtx, func(gtx layout.Context) layout.Dimensions {
		return layout.Flex{Axis: layout.Vertical}.Layout(gtx,
			layout.Rigid(func(gtx layout.Context) layout.Dimensions { return p.head(gtx, v) }),
			layout.Rigid(layout.Spacer{Height: unit.Dp(12)}.Layout),
			layout.Flexed(1, material.Body1(p.theme, v.message).Layout),
			layout.Rigid(p.button(&p.forward, forward, blue)),
			layout.Rigid(layout.Spacer{Height: unit.Dp(10)}.Layout),
			layout.Rigid(p.button(&p.back, back, gray)),
		)
	})
	return v
}

// head is the picture beside a line that tells the state.
func (p *page) head(gtx layout.Context, v view) layout.Dimensions {
	line := map[screen]string{
		signedOut: "Nobody is signed in.",
		signingIn: "Sign in in the browser…",
		signedIn:  v.name,
		ended:     "Your session has ended.",
	}[v.screen]
	return layout.Flex{Alignment: layout.Middle}.Layout(gtx,
		layout.Rigid(func(gtx layout.Context) layout.Dimensions {
			if v.screen == signingIn {
				return material.Loader(p.theme).Layout(gtx)
			}
			return p.portrait(gtx, v.picture)
		}),
		layout.Rigid(layout.Spacer{Width: unit.Dp(14), Height: unit.Dp(56)}.Layout),
		layout.Flexed(1, material.H6(p.theme, line).Layout),
	)
}

// portrait draws the user's picture in a circle, and nothing if there is none.
func (p *page) portrait(gtx layout.Context, picture image.Image) layout.Dimensions {
	if picture == nil {
		return layout.Dimensions{}
	}
	if p.picture != picture {
		p.picture, p.photo = picture, paint.NewImageOp(picture)
	}
	size := image.Pt(gtx.Dp(56), gtx.Dp(56))
	gtx.Constraints = layout.Exact(size)
	defer clip.Ellipse{Max: size}.Push(gtx.Ops).Pop()
	return widget.Image{Src: p.photo, Fit: widget.Cover}.Layout(gtx)
}

// button returns a button, and an empty place if it has no text.
func (p *page) button(b *widget.Clickable, text string, c color.NRGBA) layout.Widget {
	return func(gtx layout.Context) layout.Dimensions {
		gtx.Constraints.Min.X = gtx.Constraints.Max.X
		if text == "" {
			return layout.Spacer{Height: unit.Dp(38)}.Layout(gtx)
		}
		style := material.Button(p.theme, b, text)
		style.Background = c
		return style.Layout(gtx)
	}
}

// maxSide is the largest width and height of a picture, in pixels. A small file may
// claim to be a huge picture.
const maxSide = 2048

func fetchImage(url string) (image.Image, error) {
	data, err := get(&http.Client{Timeout: 30 * time.Second}, url)
	if err != nil {
		return nil, err
	}
	size, _, err := image.DecodeConfig(bytes.NewReader([]byte(data)))
	if err != nil {
		return nil, err
	}
	if size.Width > maxSide || size.Height > maxSide {
		return nil, errors.New("the picture is too large")
	}
	picture, _, err := image.Decode(bytes.NewReader([]byte(data)))
	return picture, err
}
