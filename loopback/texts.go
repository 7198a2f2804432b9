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
	dir    string // direction of the script, for the dir attribute: "rtl", or empty for "ltr"
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
		lang: "ar", dir: "rtl", app: "التطبيق",
		doneAs: "تم تسجيل الدخول إلى {app} باسم {user}.",
		foot:   "هذه الصفحة صادرة عن جهازك.",
		page: [...]message{
			pageDone: {"تم تسجيل الدخول", "تم تسجيل دخولك إلى {app}.",
				"يمكنك إغلاق هذه النافذة والعودة إلى {app}."},
			pageDenied: {"تم رفض تسجيل الدخول", "لم تُمنح أي صلاحية وصول.",
				"إذا لم يكن ذلك مقصودًا، فارجع إلى {app} وسجّل الدخول مرة أخرى."},
			pageOther: {"سجّل مستخدم آخر الدخول", "ليس هذا مستخدم الجلسة المحفوظة.",
				"لم يتغير شيء. سجّل الخروج لدى مزوّد الخدمة، ثم ارجع إلى {app} وسجّل الدخول مرة أخرى."},
			pageFailed: {"لم يكتمل تسجيل الدخول", "حدث خطأ أثناء تسجيل الدخول.",
				"ارجع إلى {app} لمعرفة ما حدث، ثم سجّل الدخول من هناك مرة أخرى."},
			pageOut: {"تم تسجيل الخروج", "أنهى مزوّد الخدمة الجلسة.",
				"يمكنك إغلاق هذه النافذة."},
			pageWaiting: {"لحظة من فضلك…", "يجري إكمال تسجيل الدخول إلى {app}.",
				"تُحدَّث هذه الصفحة تلقائيًا."},
			pageUsed: {"سبق استخدام هذا الرابط", "رابط تسجيل الدخول صالح لمرة واحدة.",
				"ارجع إلى {app}. إذا لم تكن قد سجّلت الدخول هناك، فابدأ من جديد."},
			pageRefused: {"لم يكن هذا الطلب متوقعًا", "لم يتغير شيء.",
				"إذا كنت تسجّل الدخول الآن، فتابع في نافذة مزوّد الخدمة أو ابدأ من جديد من {app}."},
			pageStray: {"وصل خطأ",
				"لا يذكر الخطأ عملية تسجيل الدخول التي يخصها، لذلك لم يتغير شيء.",
				"إذا عرض مزوّد الخدمة خطأ، فارجع إلى {app} وألغِ العملية هناك، ثم سجّل الدخول مرة " +
					"أخرى. وإلا فتابع في نافذة مزوّد الخدمة."},
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
		lang: "he", dir: "rtl", app: "האפליקציה",
		doneAs: "נכנסת אל {app} בתור {user}.",
		foot:   "הדף הזה נוצר במחשב שלך.",
		page: [...]message{
			pageDone: {"הכניסה הושלמה", "נכנסת אל {app}.",
				"אפשר לסגור את החלון הזה ולחזור אל {app}."},
			pageDenied: {"הכניסה נדחתה", "לא ניתנה שום הרשאת גישה.",
				"אם זו לא הייתה הכוונה, יש לחזור אל {app} ולהיכנס שוב."},
			pageOther: {"נכנס משתמש אחר", "זה אינו המשתמש של ההתחברות השמורה.",
				"דבר לא השתנה. יש לצאת מהחשבון אצל הספק, לחזור אל {app} ולהיכנס שוב."},
			pageFailed: {"הכניסה לא הושלמה", "משהו השתבש במהלך הכניסה.",
				"יש לחזור אל {app} כדי לראות מה קרה, ולהיכנס שוב משם."},
			pageOut: {"יצאת מהחשבון", "הספק סיים את ההתחברות.",
				"אפשר לסגור את החלון הזה."},
			pageWaiting: {"רק רגע…", "הכניסה אל {app} עדיין בעיצומה.",
				"הדף הזה מתעדכן מעצמו."},
			pageUsed: {"כבר נעשה שימוש בקישור הזה", "קישור כניסה פועל פעם אחת בלבד.",
				"יש לחזור אל {app}. אם עדיין לא נכנסת, יש להתחיל מחדש."},
			pageRefused: {"הבקשה הזו לא הייתה צפויה", "דבר לא השתנה.",
				"אם הכניסה עדיין בעיצומה, אפשר להמשיך בחלון של הספק או להתחיל מחדש מתוך {app}."},
			pageStray: {"התקבלה שגיאה", "לא צוין לאיזו כניסה היא שייכת, ולכן דבר לא השתנה.",
				"אם הספק הציג שגיאה, יש לחזור אל {app}, לבטל שם ולהיכנס שוב. אחרת, אפשר להמשיך בחלון " +
					"של הספק."},
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
		lang: "ko", app: "앱",
		doneAs: "{app}에 {user} 계정으로 로그인했습니다.",
		foot:   "이 페이지는 사용자의 컴퓨터에서 만들어졌습니다.",
		page: [...]message{
			pageDone: {"로그인되었습니다", "{app}에 로그인했습니다.",
				"이 창을 닫고 {app}에서 계속하세요."},
			pageDenied: {"로그인이 거부되었습니다", "액세스 권한이 부여되지 않았습니다.",
				"의도한 것이 아니라면 {app}에서 다시 로그인하세요."},
			pageOther: {"다른 사용자가 로그인했습니다", "저장된 세션의 사용자가 아닙니다.",
				"변경된 내용은 없습니다. 제공업체에서 로그아웃한 다음 {app}에서 다시 " +
					"로그인하세요."},
			pageFailed: {"로그인을 완료하지 못했습니다", "로그인하는 중에 문제가 발생했습니다.",
				"{app}에서 무슨 일이 있었는지 확인한 다음 거기서 다시 로그인하세요."},
			pageOut: {"로그아웃되었습니다", "제공업체가 세션을 종료했습니다.",
				"이 창을 닫아도 됩니다."},
			pageWaiting: {"잠시만 기다려 주세요", "{app} 로그인을 완료하는 중입니다.",
				"이 페이지는 자동으로 업데이트됩니다."},
			pageUsed: {"이미 사용된 링크입니다", "로그인 링크는 한 번만 사용할 수 있습니다.",
				"{app}에서 확인하세요. 로그인되어 있지 않으면 처음부터 다시 시작하세요."},
			pageRefused: {"예상하지 못한 요청입니다", "변경된 내용은 없습니다.",
				"로그인하는 중이라면 제공업체 창에서 계속하거나 {app}에서 다시 시작하세요."},
			pageStray: {"오류가 반환되었습니다", "어느 로그인의 오류인지 알 수 없어 아무것도 변경하지 않았습니다.",
				"제공업체에 오류가 표시되었다면 {app}에서 취소한 다음 다시 로그인하세요. 그렇지 " +
					"않다면 제공업체 창에서 계속하세요."},
		},
	},
	{
		lang: "pt", app: "seu aplicativo",
		doneAs: "Você entrou em {app} como {user}.",
		foot:   "Esta página foi criada no seu próprio computador.",
		page: [...]message{
			pageDone: {"Login concluído", "Você entrou em {app}.",
				"Você já pode fechar esta janela e voltar para {app}."},
			pageDenied: {"Login recusado", "Nenhum acesso foi concedido.",
				"Se não era essa a intenção, volte para {app} e entre novamente."},
			pageOther: {"Outro usuário entrou", "Era esperado o usuário da sessão salva.",
				"Nada foi alterado. Saia da sua conta no provedor, volte para {app} e entre " +
					"novamente."},
			pageFailed: {"O login não foi concluído", "Algo deu errado durante o login.",
				"Volte para {app} para ver o que aconteceu e entre novamente por lá."},
			pageOut: {"Você saiu da sua conta", "O seu provedor encerrou a sessão.",
				"Você já pode fechar esta janela."},
			pageWaiting: {"Um momento…", "O login em {app} está sendo concluído.",
				"Esta página se atualiza sozinha."},
			pageUsed: {"Este link já foi usado", "Um link de login funciona uma única vez.",
				"Volte para {app}. Se ainda não tiver entrado, comece de novo."},
			pageRefused: {"Esta solicitação não era esperada", "Nada foi alterado.",
				"Se você está entrando, continue na janela do seu provedor ou comece de novo a partir " +
					"de {app}."},
			pageStray: {"Um erro foi recebido", "Ele não indica a qual login pertence. Nada foi alterado.",
				"Se o seu provedor mostrou um erro, volte para {app}, cancele por lá e entre " +
					"novamente. Caso contrário, continue na janela do seu provedor."},
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
	{
		lang: "zh-Hant", app: "應用程式",
		doneAs: "已以{user}的身分登入{app}。",
		foot:   "此頁面由您自己的電腦產生。",
		page: [...]message{
			pageDone: {"登入成功", "您已登入{app}。",
				"您可以關閉此視窗並返回{app}。"},
			pageDenied: {"登入遭拒", "未授予任何存取權。",
				"如果這不是您的本意，請返回{app}重新登入。"},
			pageOther: {"登入的是其他使用者", "與已儲存工作階段的使用者不符。",
				"未變更任何內容。請先在提供者登出，再返回{app}重新登入。"},
			pageFailed: {"登入未完成", "登入過程中發生問題。",
				"請返回{app}查看原因，然後重新登入。"},
			pageOut: {"您已登出", "提供者的工作階段已結束。",
				"您可以關閉此視窗。"},
			pageWaiting: {"請稍候", "正在完成{app}的登入。",
				"此頁面會自動更新。"},
			pageUsed: {"此連結已使用過", "登入連結只能使用一次。",
				"請返回{app}。如果尚未登入，請重新開始。"},
			pageRefused: {"非預期的要求", "未變更任何內容。",
				"如果您正在登入，請在提供者的視窗中繼續，或從{app}重新開始。"},
			pageStray: {"收到錯誤", "該錯誤未註明屬於哪次登入，因此未變更任何內容。",
				"如果提供者顯示了錯誤，請返回{app}，取消後重新登入。否則請在提供者的視窗中繼續。"},
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
// subtag counts, and in Chinese the script, which a region may stand for.
func language(tag string) *texts {
	primary, rest, _ := strings.Cut(tag, "-")
	switch primary {
	case "iw": // the tag of Hebrew until 1989, which some systems still use
		primary = "he"
	case "zh":
		primary = "zh-Hans"
		switch strings.SplitN(rest, "-", 2)[0] {
		case "hant", "tw", "hk", "mo":
			primary = "zh-Hant"
		}
	}
	for i := range languages {
		if primary == languages[i].lang {
			return &languages[i]
		}
	}
	return nil
}
