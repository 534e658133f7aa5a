"""Names of made-up people: how they are shown, and how they spell themselves in Latin letters."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Name:
    """A given name in its own script and as a user name, and the language of its bearer."""

    shown: str
    latin: str
    language: str


def _names(language: str, pairs: str) -> list[Name]:
    shown_and_latin = (pair.split("/") for pair in pairs.split())
    return [Name(shown, latin, language) for shown, latin in shown_and_latin]


# The first of these has a password that the documentation gives away; the second follows the first.
KNOWN = [
    Name("Ada Brook", "ada", "en"),
    Name("Grace Field", "grace", "en"),
    Name("Ålan Sjöberg", "alan", "de"),
    Name("Zoé Lefèvre", "zoe", "fr"),
]

GIVEN = [
    *_names(
        "en",
        "Maya/maya Theo/theo Ruth/ruth Oscar/oscar"
        " Ivy/ivy Miles/miles Nora/nora Silas/silas Wren/wren Hugo/hugo"
        " Pearl/pearl Jonah/jonah Tess/tess Felix/felix Opal/opal Rory/rory",
    ),
    *_names("de", "Jürgen/juergen Käthe/kaethe Björn/bjoern Ulrike/ulrike Götz/goetz Änne/aenne Lüder/lueder"),
    *_names("fr", "Hélène/helene François/francois Gaël/gael Aurélie/aurelie Noé/noe Maëlys/maelys Cédric/cedric"),
    *_names("es", "Íñigo/inigo Lucía/lucia Andrés/andres Begoña/begona Martín/martin Inés/ines Tomás/tomas"),
    *_names("el", "Ελένη/eleni Γιώργος/giorgos Δάφνη/dafni Νίκος/nikos Ιφιγένεια/ifigeneia Σπύρος/spyros"),
    *_names("ru", "Аня/anya Фёдор/fyodor Зоя/zoya Илья/ilya Василиса/vasilisa Глеб/gleb Юлия/yulia"),
    *_names("uk", "Оксана/oksana Тарас/taras Їжак/yizhak Соломія/solomia Остап/ostap Ґалина/galyna"),
    *_names("ar", "ليلى/layla يوسف/yousef سارة/sara طارق/tariq هدى/huda كريم/karim نور/noor"),
    *_names("he", "נועה/noa איתן/eitan תמר/tamar יונתן/yonatan שירה/shira עומר/omer"),
    *_names("hi", "आशा/asha रोहन/rohan मीरा/meera विक्रम/vikram दीपा/deepa कबीर/kabir नेहा/neha"),
    *_names("ja", "さくら/sakura 健太/kenta 美咲/misaki 翔/sho 葵/aoi 大輔/daisuke ユキ/yuki"),
    *_names("zh", "小雨/xiaoyu 明/ming 丽华/lihua 建国/jianguo 思思/sisi 伟/wei 晓月/xiaoyue"),
    *_names("ko", "지우/jiwoo 민준/minjun 서연/seoyeon 하늘/haneul 도윤/doyun 수아/sua"),
    *_names("vi", "Hương/huong Minh/minh Thảo/thao Đức/duc Ngọc/ngoc Tuấn/tuan"),
]

EPITHETS = {
    "en": ["Reed", "Marsh", "of the Hills", "Waters", "🌿"],
    "de": ["Sommerfeld", "Kühn", "vom Deich", "Groß"],
    "fr": ["Dubois", "Rivière", "l’Étoile", "Château"],
    "es": ["Peña", "del Río", "Núñez", "Ibáñez"],
    "el": ["Θαλασσινός", "της Αυγής", "Παπαδάκη"],
    "ru": ["Лесная", "из Твери", "Соловьёв"],
    "uk": ["з Полтави", "Зірка", "Лісовий"],
    "ar": ["البحري", "من حلب", "القمر"],
    "he": ["כהן", "מהגליל", "שמש"],
    "hi": ["शर्मा", "वर्मा", "पहाड़ी"],
    "ja": ["山本", "海辺", "の庭"],
    "zh": ["王", "在路上", "的茶馆"],
    "ko": ["김", "바다", "의 정원"],
    "vi": ["Nguyễn", "Trần", "Hà Nội"],
}

PLACES = {
    "en": "By the harbour",
    "de": "Lübeck",
    "fr": "Besançon",
    "es": "A Coruña",
    "el": "Θεσσαλονίκη",
    "ru": "Тверь",
    "uk": "Київ",
    "ar": "عمّان",
    "he": "חיפה",
    "hi": "पुणे",
    "ja": "鎌倉",
    "zh": "杭州",
    "ko": "부산",
    "vi": "Đà Lạt",
}
