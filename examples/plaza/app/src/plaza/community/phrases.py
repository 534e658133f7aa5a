"""Sentences that the made-up people write, by language: how a post begins, how it may go on, and replies."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Phrases:
    """Sentences of one language, and hashtags that fit."""

    beginnings: tuple[str, ...]
    endings: tuple[str, ...]
    replies: tuple[str, ...]
    tags: tuple[str, ...]


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.strip().splitlines())


EMOJI = (
    "🌅",
    "☕️",
    "🎻",
    "🥐",
    "🚲",
    "🌧️",
    "📷",
    "🪴",
    "👩🏽‍🌾",
    "🏳️‍🌈",
    "👨‍👩‍👧‍👦",
    "🦊",
    "✨",
    "❤️",
    "🇬🇷",
    "🫶🏿",
    "🐈‍⬛",
    "🍜",
)

BY_LANGUAGE: dict[str, Phrases] = {
    "en": Phrases(
        _lines("""
        The market opened before sunrise and I was there with an empty basket.
        Finally finished the bookshelf that I started two winters ago.
        Somebody plays the cello on our street every Thursday.
        The ferry was late, so I learned the name of every gull on the pier.
        Today I counted eleven kinds of green on the way to work.
        My grandmother's recipe says “until it smells right”. It took four tries.
        We planted beans where the car used to stand.
        Fog so thick this morning that the bridge ended in the middle.
        Found a letter from 1961 between the pages of a cookbook.
        The library now lends bread tins, and I have never been prouder of this town.
        Old camera, new film, no idea what I am doing.
        First swim of the year. I regret nothing & would do it again.
        Our street party needs chairs, lanterns and somebody who can tie knots.
        The kettle is on, the window is open, the neighbours are arguing about tomatoes.
        """),
        _lines("""
        I wish you could hear it.
        Pictures when the light is better.
        Tell me yours.
        More on this tomorrow, if the weather allows.
        It made the whole week lighter.
        Nobody warned me how good it would be.
        If you come by, bring a spoon.
        The dog approves.
        That is all. That is the post.
        Who else was there?
        """),
        _lines("""
        This made my morning.
        I would have stayed there all day.
        Save me a seat next time!
        Same here, three streets further on.
        My mother says exactly that.
        Please never stop posting these.
        How long did it take?
        I owe you a coffee.
        """),
        ("market", "slowmorning", "film", "allotment", "harbour", "bread"),
    ),
    "de": Phrases(
        _lines("""
        Heute früh lag Reif auf den Dächern, und die Straße war ganz still.
        Der Bäcker hat wieder die großen Brezeln, bitte weitersagen.
        Endlich läuft die alte Nähmaschine wieder.
        Übers Wochenende haben wir den Gartenzaun gestrichen – grün, natürlich.
        Im Zug saß einer mit einer Tuba auf dem Schoß.
        Die Kräuter auf dem Balkon übernehmen langsam die Macht.
        """),
        _lines("""
        Schöner wird’s nicht mehr.
        Bilder folgen, wenn die Sonne zurück ist.
        Wer kommt mit?
        Ich könnte süchtig danach werden.
        Das musste einfach raus.
        """),
        _lines("""
        Großartig, ich will auch!
        Bei uns genauso.
        Da wäre ich gern dabei gewesen.
        Erzähl mehr davon.
        """),
        ("frühling", "kleingärten", "brot", "draußen"),
    ),
    "fr": Phrases(
        _lines("""
        Ce matin, le café de la gare avait déjà sorti les chaises.
        J’ai retrouvé le vélo de mon père au fond de la grange.
        À midi, toute la rue sentait l’ail et le thym.
        Il a neigé sur les cerisiers en fleur, c’était presque trop beau.
        Le bouquiniste m’a gardé le dernier tome, je lui dois un gâteau.
        L’été est arrivé par la fenêtre de la cuisine.
        """),
        _lines("""
        Ça change tout.
        Et vous, où étiez-vous ?
        Je n’en suis pas encore revenue.
        La suite demain, peut-être.
        À refaire très bientôt.
        """),
        _lines("""
        Quelle merveille !
        Chez nous aussi, exactement pareil.
        J’arrive avec le dessert.
        Tu me donnes la recette ?
        """),
        ("café", "été", "marché", "forêt"),
    ),
    "es": Phrases(
        _lines("""
        El mercado olía a naranjas y a lluvia recién caída.
        Mañana abrimos el huerto del barrio; traed guantes.
        Mi abuela contó otra vez la historia del tranvía, y otra vez cambió el final.
        Qué bien suena la guitarra de la vecina a estas horas.
        He aprendido a hacer pan: el tercero ya se podía comer.
        """),
        _lines("""
        ¿Quién se apunta?
        Así da gusto empezar la semana.
        Lo cuento todo luego.
        No hay nada mejor, ¿verdad?
        """),
        _lines("""
        ¡Qué maravilla!
        Yo también quiero.
        Guárdame un trozo.
        Aquí igual, desde el miércoles.
        """),
        ("otoño", "barrio", "pan", "mañana"),
    ),
    "el": Phrases(
        _lines("""
        Η θάλασσα σήμερα ήταν γυαλί, και η βάρκα έμεινε δεμένη.
        Μύρισε βασιλικός σε όλη τη γειτονιά.
        Ο παππούς έφτιαξε πάλι το παλιό ραδιόφωνο.
        Στην πλατεία έπαιζαν λύρα μέχρι τα μεσάνυχτα.
        Ξύπνησα νωρίς για να δω το φως πάνω στα βουνά.
        """),
        _lines("""
        Να είστε όλοι καλά.
        Ποιος έρχεται αύριο;
        Τίποτα άλλο δεν χρειάζεται.
        Θα ανεβάσω και φωτογραφίες.
        """),
        _lines("""
        Τι όμορφο!
        Κι εμείς το ίδιο.
        Κράτα μου μια θέση.
        """),
        ("θάλασσα", "άνοιξη", "καφές"),
    ),
    "ru": Phrases(
        _lines("""
        Сегодня в парке кто-то развесил скворечники с фамилиями жильцов.
        Дождь идёт третий день, зато грибы растут сами.
        Наконец-то доехала до моря, и оно оказалось тёплым.
        Сосед чинит велосипеды и рассказывает про звёзды.
        Нашли на чердаке коробку ёлочных игрушек.
        """),
        _lines("""
        Вот и весь день.
        Кто со мной?
        Ещё бы чаю.
        Фотографии будут вечером.
        """),
        _lines("""
        Как же хорошо!
        У нас тоже так.
        Расскажи ещё.
        """),
        ("осень", "чай", "дача"),
    ),
    "uk": Phrases(
        _lines("""
        Зранку над річкою стояв туман, а потім заспівали жайворонки.
        Ґанок пофарбували, їжак оселився під сходами.
        На базарі вже є перша полуниця, солодка як ніколи.
        Бабуся вчить мене вишивати, і я знову все розпустила.
        """),
        _lines("""
        Гарного всім дня.
        Хто ще не спить?
        Далі буде.
        """),
        _lines("""
        Яка краса!
        І в нас так само.
        Чекаю на продовження.
        """),
        ("весна", "вишивка", "їжак"),
    ),
    "ar": Phrases(
        _lines("""
        صباح الخير من شرفةٍ تطلّ على البحر.
        رائحة الخبز هذا الصباح ملأت الحيّ كله.
        وجدتُ دفتر جدّي القديم وفيه قصائد لم يقرأها أحد.
        اليوم تعلّمت ابنتي ركوب الدراجة في الساحة.
        المطر الأول هذا العام، والجميع خرجوا إلى الشارع.
        """),
        _lines("""
        ما أجمل البدايات.
        من يشاركني القهوة؟
        الصور لاحقاً إن شاء الله.
        يومكم سعيد.
        """),
        _lines("""
        جميل جداً!
        ونحن كذلك هنا.
        احجز لي مكاناً في المرة القادمة.
        """),
        ("قهوة", "صباح_الخير", "بحر"),
    ),
    "he": Phrases(
        _lines("""
        הבוקר השוק היה מלא תותים, וכולם חייכו.
        סוף סוף תיקנתי את הרדיו הישן של סבא.
        מישהו מנגן בחליל מתחת לחלון שלי כל יום שישי.
        גשם ראשון, והרחוב כולו יצא להסתכל.
        """),
        _lines("""
        מי מצטרף?
        תמונות בערב.
        זה כל הסיפור.
        """),
        _lines("""
        איזה יופי!
        גם אצלנו.
        שמרו לי מקום.
        """),
        ("בוקר", "שוק", "גשם"),
    ),
    "hi": Phrases(
        _lines("""
        आज सुबह पूरी गली में चाय और इलायची की खुशबू थी।
        नानी की पुरानी चिट्ठियाँ मिलीं, हर एक में एक कहानी।
        बारिश रुकी तो छत पर सब बच्चे पतंग लेकर निकल आए।
        आज पहली बार रोटी गोल बनी, फोटो लेना तो बनता है।
        पहाड़ों पर सूरज धीरे-धीरे उतरता है, जैसे जल्दी किसी को न हो।
        """),
        _lines("""
        और आप बताइए?
        बस इतनी-सी बात थी।
        कल फिर मिलते हैं।
        """),
        _lines("""
        बहुत सुंदर!
        हमारे यहाँ भी ऐसा ही है।
        अगली बार मुझे भी बुलाना।
        """),
        ("चाय", "बारिश", "हिन्दी"),
    ),
    "ja": Phrases(
        _lines("""
        今朝、商店街の桜が一本だけ咲いていました。
        祖母のぬか床を分けてもらった。三日目、まだ生きている。
        雨の日の喫茶店は、なぜか時間がゆっくり流れる。
        自転車で海まで行ったら、ガチャガチャしか開いていなかった。
        古いカメラに新しいフィルム。何が写るかはお楽しみ。
        """),
        _lines("""
        また明日。
        みんなはどう?
        写真はあとで。
        それだけの話です。
        """),
        _lines("""
        すてきですね!
        うちも同じです。
        続きを待っています。
        """),
        ("朝ごはん", "散歩", "フィルム"),
    ),
    "zh": Phrases(
        _lines("""
        今天早上菜市场的桂花开了,整条街都是香的。
        外婆教我包粽子,我包的那个最像石头。
        雨停了,湖面上全是云。
        在旧书店翻到一本一九五八年的地图,路名都变了。
        終於把陽台的花都換了盆,腰痠但開心。
        """),
        _lines("""
        明天再说。
        你们那边呢?
        照片晚点发。
        """),
        _lines("""
        真好看!
        我们这里也是。
        下次叫上我。
        """),
        ("早安", "桂花", "散步"),
    ),
    "ko": Phrases(
        _lines("""
        오늘 아침 시장에서 할머니가 귤을 한 봉지 더 주셨다.
        비 오는 날에는 역시 파전.
        골목 끝 책방에 고양이가 새로 왔어요.
        한강에서 자전거를 탔는데 노을이 정말 예뻤다.
        """),
        _lines("""
        내일 또 만나요.
        다들 어떠세요?
        사진은 나중에.
        """),
        _lines("""
        정말 예쁘네요!
        우리 동네도 그래요.
        다음에는 같이 가요.
        """),
        ("아침", "고양이", "노을"),
    ),
    "vi": Phrases(
        _lines("""
        Sáng nay cả phố thơm mùi phở, không ai nỡ vội.
        Bà ngoại gửi lên một thùng xoài, cả xóm cùng ăn.
        Trời vừa tạnh mưa, ngoài hồ đầy sương.
        Cuối cùng mình cũng sửa được chiếc xe đạp cũ.
        """),
        _lines("""
        Hẹn mai nhé.
        Ai đi cùng không?
        Ảnh để tối đăng.
        """),
        _lines("""
        Đẹp quá!
        Bên mình cũng vậy.
        Lần sau rủ mình với.
        """),
        ("phở", "buổisáng", "mưa"),
    ),
}

# Texts with these languages' accents exist in a composed and a decomposed form that look the same.
DECOMPOSABLE = ("de", "fr", "es", "el", "ru", "uk", "ko", "vi", "ja", "hi")

CARDS = (
    ("How to listen to a bird before breakfast", "slowreading.example"),
    ("Δέκα τρόποι να ψήσεις ψωμί", "psomi.example"),
    ("Ein Zaun, zwei Nachbarn, drei Farben", "gartenblatt.example"),
    ("رحلة قصيرة إلى شاطئ لا يعرفه أحد", "rihla.example"),
    ("金継ぎをはじめる人のための七日間", "utsuwa.example"),
    ("The last lamp lighter of the harbour", "oldtown.example"),
    ("गली के उस पार की चाय", "chaiwala.example"),
    ("Pourquoi les tramways chantent", "rails.example"),
)
