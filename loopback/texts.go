package loopback

import (
	"strconv"
	"strings"
)

// texts are the texts of every page in one language. "{app}" and "{user}" stand
// for the names. A sentence with {app} must be correct both with a name and with
// the noun of app.
type texts struct {
	lang   string // BCP 47 tag, for the lang attribute
	app    string // stands for {app} if the program has no name
	doneAs string // replaces said of pageDone if the user's name is known
	foot   string
	page   [pageStray + 1]message
}

// message is a heading, what happened, and what to do next.
type message struct{ title, said, next string }

// languages are the languages of the pages. The first is the default. To add
// one, translate every text; TestEveryLanguageHasEveryText checks that none is missing. It
// is plain data, so nothing runs when a program starts.
var languages = [...]texts{
	{
		lang: "en", app: "the app",
		doneAs: "Signed in to {app} as {user}.",
		foot:   "This page was made on your own computer.",
		page: [...]message{
			pageDone: {"You’re signed in", "Signed in to {app}.",
				"You can close this window and return to {app}."},
			pageDenied: {"Sign-in was declined", "No access was given to {app}.",
				"If that was not intended, return to {app} and sign in again."},
			pageOther: {"Another user signed in", "{app} expected the user of its session.",
				"Nothing was changed. Sign out at your provider, then sign in again from {app}."},
			pageFailed: {"Sign-in didn’t finish", "Something went wrong on the way to {app}.",
				"Return to {app} to see what happened, then sign in again from there."},
			pageOut: {"You’re signed out", "Your provider has ended its session.",
				"You can close this window."},
			pageWaiting: {"One moment …", "The sign-in to {app} is being completed.",
				"This page updates by itself."},
			pageUsed: {"This link has been used", "A sign-in link works once.",
				"Return to {app}. If you are not signed in there, start again."},
			pageRefused: {"This request was not expected", "Nothing was changed.",
				"If you are signing in, go on in the window of your provider, or start again " +
					"from {app}."},
			pageStray: {"An error came back",
				"It does not say which sign-in it belongs to, so nothing was changed.",
				"If your provider showed an error, return to {app}, cancel there, and sign in " +
					"again. Otherwise go on in the window of your provider."},
		},
	},
	{
		lang: "de", app: "der Anwendung",
		doneAs: "Bei {app} angemeldet als {user}.",
		foot:   "Diese Seite kommt von Ihrem eigenen Computer.",
		page: [...]message{
			pageDone: {"Sie sind angemeldet", "Die Anmeldung bei {app} war erfolgreich.",
				"Sie können dieses Fenster schließen und zu {app} zurückkehren."},
			pageDenied: {"Anmeldung abgelehnt", "Es wurde kein Zugriff erteilt.",
				"Falls das nicht gewollt war, kehren Sie zu {app} zurück und melden Sie sich " +
					"erneut an."},
			pageOther: {"Jemand anderes hat sich angemeldet",
				"Erwartet wurde, wer schon angemeldet ist.",
				"Es wurde nichts geändert. Melden Sie sich bei Ihrem Anbieter ab, kehren Sie zu " +
					"{app} zurück und melden Sie sich erneut an."},
			pageFailed: {"Anmeldung nicht abgeschlossen",
				"Bei der Anmeldung ist etwas schiefgegangen.",
				"Kehren Sie zu {app} zurück, um zu sehen, was geschehen ist, und melden Sie " +
					"sich dort erneut an."},
			pageOut: {"Sie sind abgemeldet", "Ihr Anbieter hat die Sitzung beendet.",
				"Sie können dieses Fenster schließen."},
			pageWaiting: {"Einen Moment …", "Die Anmeldung bei {app} wird abgeschlossen.",
				"Diese Seite aktualisiert sich von selbst."},
			pageUsed: {"Dieser Link wurde schon benutzt", "Ein Anmeldelink gilt nur einmal.",
				"Kehren Sie zu {app} zurück. Falls Sie dort nicht angemeldet sind, beginnen Sie " +
					"von vorn."},
			pageRefused: {"Diese Anfrage wurde nicht erwartet", "Es wurde nichts geändert.",
				"Falls Sie sich gerade anmelden, fahren Sie im Fenster Ihres Anbieters fort, " +
					"oder beginnen Sie in {app} von vorn."},
			pageStray: {"Ein Fehler wurde gemeldet",
				"Er nennt nicht die Anmeldung, zu der er gehört. Es wurde nichts geändert.",
				"Falls Ihr Anbieter einen Fehler gezeigt hat, kehren Sie zu {app} zurück, brechen " +
					"Sie dort ab und melden Sie sich erneut an. Fahren Sie sonst im Fenster Ihres " +
					"Anbieters fort."},
		},
	},
	{
		lang: "es", app: "la aplicación",
		doneAs: "Ha iniciado sesión en {app} como {user}.",
		foot:   "Esta página procede de su propio equipo.",
		page: [...]message{
			pageDone: {"Sesión iniciada", "Ha iniciado sesión en {app}.",
				"Puede cerrar esta ventana y volver a {app}."},
			pageDenied: {"Inicio de sesión rechazado", "No se ha concedido ningún acceso.",
				"Si no era su intención, vuelva a {app} e inicie sesión de nuevo."},
			pageOther: {"Ha iniciado sesión otro usuario",
				"Se esperaba al usuario de la sesión guardada.",
				"No se ha cambiado nada. Cierre la sesión en su proveedor, vuelva a {app} e " +
					"inicie sesión de nuevo."},
			pageFailed: {"No se completó el inicio de sesión",
				"Algo salió mal durante el inicio de sesión.",
				"Vuelva a {app} para ver qué ha ocurrido e inicie sesión de nuevo desde allí."},
			pageOut: {"Sesión cerrada", "Su proveedor ha cerrado la sesión.",
				"Puede cerrar esta ventana."},
			pageWaiting: {"Un momento…", "Se está completando el inicio de sesión en {app}.",
				"Esta página se actualiza sola."},
			pageUsed: {"Este enlace ya se ha utilizado",
				"Un enlace de inicio de sesión sirve una sola vez.",
				"Vuelva a {app}. Si allí no ha iniciado sesión, empiece de nuevo."},
			pageRefused: {"Solicitud inesperada", "No se ha cambiado nada.",
				"Si está iniciando sesión, continúe en la ventana de su proveedor o empiece de " +
					"nuevo desde {app}."},
			pageStray: {"Se ha recibido un error",
				"No indica a qué inicio de sesión pertenece. No se ha cambiado nada.",
				"Si su proveedor mostró un error, vuelva a {app}, cancele allí e inicie sesión de " +
					"nuevo. Si no, continúe en la ventana de su proveedor."},
		},
	},
	{
		lang: "fr", app: "l’application",
		doneAs: "Votre session est ouverte dans {app} avec le compte {user}.",
		foot:   "Cette page provient de votre propre ordinateur.",
		page: [...]message{
			pageDone: {"Connexion réussie", "Votre session est ouverte dans {app}.",
				"Vous pouvez fermer cette fenêtre et revenir à {app}."},
			pageDenied: {"Connexion refusée", "Aucun accès n’a été accordé.",
				"Si ce n’était pas voulu, revenez à {app} et connectez-vous de nouveau."},
			pageOther: {"Un autre utilisateur s’est connecté",
				"L’utilisateur de la session enregistrée était attendu.",
				"Rien n’a été modifié. Déconnectez-vous chez votre fournisseur, revenez à {app} " +
					"et connectez-vous de nouveau."},
			pageFailed: {"La connexion n’a pas abouti",
				"Un problème est survenu pendant la connexion.",
				"Revenez à {app} pour voir ce qui s’est passé, puis connectez-vous de nouveau."},
			pageOut: {"Vous êtes déconnecté", "Votre fournisseur a fermé la session.",
				"Vous pouvez fermer cette fenêtre."},
			pageWaiting: {"Un instant…", "La connexion à {app} est en cours.",
				"Cette page s’actualise d’elle-même."},
			pageUsed: {"Ce lien a déjà servi", "Un lien de connexion ne sert qu’une fois.",
				"Revenez à {app}. Si votre session n’y est pas ouverte, recommencez."},
			pageRefused: {"Cette requête n’était pas attendue", "Rien n’a été modifié.",
				"Si vous êtes en train de vous connecter, continuez dans la fenêtre de votre " +
					"fournisseur, ou recommencez à partir de {app}."},
			pageStray: {"Une erreur a été reçue",
				"Elle n’indique pas à quelle connexion elle appartient. Rien n’a été modifié.",
				"Si votre fournisseur a affiché une erreur, revenez à {app}, annulez et " +
					"connectez-vous de nouveau. Sinon, continuez dans la fenêtre de votre fournisseur."},
		},
	},
	{
		lang: "ja", app: "アプリ",
		doneAs: "{user}として{app}にサインインしました。",
		foot:   "このページはお使いのコンピューターから表示されています。",
		page: [...]message{
			pageDone: {"サインインしました", "{app}へのサインインが完了しました。", "このウィンドウを閉じて、{app}に戻ってください。"},
			pageDenied: {"サインインは拒否されました", "アクセスは許可されていません。",
				"意図した操作でない場合は、{app}に戻ってもう一度サインインしてください。"},
			pageOther: {"別のユーザーがサインインしました", "保存されているセッションのユーザーではありません。",
				"何も変更されていません。プロバイダーからサインアウトし、{app}に戻ってもう一度サインインしてください。"},
			pageFailed: {"サインインできませんでした", "サインインの途中で問題が発生しました。",
				"{app}に戻って内容を確認し、もう一度サインインしてください。"},
			pageOut:     {"サインアウトしました", "プロバイダーのセッションを終了しました。", "このウィンドウを閉じてください。"},
			pageWaiting: {"しばらくお待ちください", "{app}へのサインインを完了しています。", "このページは自動的に更新されます。"},
			pageUsed: {"このリンクは使用済みです", "サインイン用のリンクは一度だけ使えます。",
				"{app}に戻ってください。サインインできていない場合は、最初からやり直してください。"},
			pageRefused: {"予期しないリクエストです", "何も変更されていません。",
				"サインイン中の場合は、プロバイダーのウィンドウで続けるか、{app}からやり直してください。"},
			pageStray: {"エラーが返されました", "どのサインインのエラーか示されていないため、何も変更されていません。",
				"プロバイダーがエラーを表示した場合は、{app}に戻って中止し、もう一度サインインしてください。" +
					"それ以外の場合は、プロバイダーのウィンドウで続けてください。"},
		},
	},
	{
		lang: "zh-Hans", app: "应用",
		doneAs: "已以{user}的身份登录{app}。",
		foot:   "此页面由您自己的计算机生成。",
		page: [...]message{
			pageDone:   {"登录成功", "您已登录{app}。", "您可以关闭此窗口并返回{app}。"},
			pageDenied: {"登录被拒绝", "未授予任何访问权限。", "如果这不是您的本意，请返回{app}重新登录。"},
			pageOther: {"登录的是其他用户", "与已保存会话的用户不一致。",
				"未作任何更改。请先在提供方退出登录，再返回{app}重新登录。"},
			pageFailed:  {"登录未完成", "登录过程中出现问题。", "请返回{app}查看原因，然后重新登录。"},
			pageOut:     {"您已退出登录", "提供方的会话已结束。", "您可以关闭此窗口。"},
			pageWaiting: {"请稍候", "正在完成{app}的登录。", "此页面会自动更新。"},
			pageUsed:    {"此链接已使用过", "登录链接只能使用一次。", "请返回{app}。如果尚未登录，请重新开始。"},
			pageRefused: {"意外的请求", "未作任何更改。", "如果您正在登录，请在提供方的窗口中继续，或从{app}重新开始。"},
			pageStray: {"收到了一个错误", "该错误未注明属于哪次登录，因此未作任何更改。",
				"如果提供方显示了错误，请返回{app}，取消后重新登录。否则请在提供方的窗口中继续。"},
		},
	},
}

// textsFor returns the texts in the language that an Accept-Language header
// prefers (RFC 9110 §12.5.4). It looks at 20 entries at most, and ignores an
// entry with a malformed weight.
func textsFor(accept string) *texts {
	best, bestQ := &languages[0], 0.0
	for i := 0; i < 20 && accept != ""; i++ {
		var item string
		item, accept, _ = strings.Cut(accept, ",")
		tag, params, _ := strings.Cut(item, ";")
		q := 1.0
		if v, ok := strings.CutPrefix(strings.TrimSpace(params), "q="); ok {
			n, err := strconv.ParseFloat(v, 64)
			if err != nil || !(n >= 0 && n <= 1) {
				continue
			}
			q = n
		}
		if t := language(strings.ToLower(strings.TrimSpace(tag))); t != nil && q > bestQ {
			best, bestQ = t, q
		}
	}
	return best
}

// language returns the texts for a tag in lower case, or nil. Only the primary
// subtag counts. Chinese in traditional characters is an exception: the pages are
// in simplified ones, so the user's next choice may fit better.
func language(tag string) *texts {
	primary, rest, _ := strings.Cut(tag, "-")
	if primary == "zh" {
		switch strings.SplitN(rest, "-", 2)[0] {
		case "hant", "tw", "hk", "mo":
			return nil
		}
	}
	for i := range languages {
		if primary == languages[i].lang || primary == "zh" && languages[i].lang == "zh-Hans" {
			return &languages[i]
		}
	}
	return nil
}
