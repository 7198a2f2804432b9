package oauthclient_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/words"
	"github.com/nativeoauth/nativeoauth/loopback"
	"github.com/nativeoauth/nativeoauth/oauthclient"
)

// The terminal speaks the language of the environment. What is to be copied stays on
// lines of its own, which begin with two spaces.
func TestTerminalSpeaksTheUsersLanguage(t *testing.T) {
	const url, code, where = "https://login.example.com/authorize?x=1", "WDJB-MJHT", "https://login.example.com/device"
	when := time.Date(2030, 1, 1, 12, 34, 56, 0, time.Local)
	for locale, says := range map[string][]string{
		"C":           {"in a browser before 12:34:56:", "Or, on any device", "paste that address", "Waiting until 12:34:56", "That was not it: its state is wrong"},
		"de_DE.UTF-8": {"Öffnen Sie zum Anmelden vor 12:34:56 Uhr diese Adresse", "Oder öffnen Sie", "Fügen Sie diese Adresse hier ein", "Warten bis 12:34:56 Uhr", "Das war sie nicht: its state is wrong"},
		"es_MX.UTF-8": {"en un navegador antes de las 12:34:56:", "O bien, en cualquier", "pegue aquí", "Esperando hasta las 12:34:56", "No era esa: its"},
		"fr_CA.UTF-8": {"dans un navigateur avant 12:34:56 :", "Ou, sur n’importe", "collez cette adresse", "En attente jusqu’à 12:34:56", "la bonne : its"},
		"ja_JP.UTF-8": {"12:34:56までにブラウザーで", "または、別の端末で", "貼り付けてください", "12:34:56まで待ちます", "ありません：its"},
		"zh_CN.UTF-8": {"请在 12:34:56 之前在浏览器中", "或者，在任意设备上", "粘贴到这里", "等待至 12:34:56", "不是这个地址：its"},
		"zh_TW.UTF-8": {"請在 12:34:56 之前在瀏覽器中", "或者，在任何裝置上", "貼到這裡", "等待至 12:34:56", "不是這個網址：its"},
		"ar_EG.UTF-8": {"في متصفح قبل 12:34:56:", "أو، على أي جهاز", "الصق ذلك العنوان", "الانتظار حتى 12:34:56", "العنوان: its"},
		"he_IL.UTF-8": {"בדפדפן לפני 12:34:56:", "או, בכל מכשיר", "להדביק כאן", "ממתינים עד 12:34:56", "הכתובת: its"},
		"ko_KR.UTF-8": {"12:34:56까지 브라우저에서", "또는 다른 기기에서", "붙여 넣으세요", "12:34:56까지 기다립니다", "아닙니다: its"},
		"pt_BR.UTF-8": {"em um navegador antes das 12:34:56:", "Ou, em qualquer", "cole esse endereço", "Aguardando até as 12:34:56", "Não era esse: its"},
		"xx_XX.UTF-8": {"To sign in, open"},
	} {
		t.Setenv("LC_ALL", locale)
		out := &screen{}
		ui := oauthclient.TerminalUI(out, strings.NewReader(""))
		_, err := ui.Instruct(t.Context(), oauthclient.Instructions{
			URL: url, URLExpiry: when, Paste: true, UserCode: code, VerificationURI: where, Expiry: when,
		})
		require.NoError(t, err)
		_, err = ui.Instruct(t.Context(), oauthclient.Instructions{Paste: true, Refused: errors.New("its state is wrong")})
		require.NoError(t, err)
		for _, s := range says {
			require.Contains(t, out.String(), s, locale)
		}
		for _, line := range []string{url, code, where} {
			require.Contains(t, out.String(), "\n  "+line+"\n", locale)
		}
		require.NotContains(t, out.String(), "{", locale)
	}
}

// The terminal has the languages of the pages, and no others.
func TestTerminalHasThePagesLanguages(t *testing.T) {
	t.Parallel()
	texts := map[string]loopback.Texts{}
	for _, lang := range words.Languages() {
		texts[lang] = loopback.Texts{}
	}
	require.Len(t, texts, 11, "loopback.Page.Texts names them")
	s, err := loopback.Listen(t.Context(), loopback.Config{Page: loopback.Page{Texts: texts}})
	require.NoError(t, err)
	require.NoError(t, s.Close())
}
