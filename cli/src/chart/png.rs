//! A chart as pixels: dark on white, with a font that is part of the program, so that nothing of the machine matters.

use std::sync::{Arc, LazyLock};

use resvg::{
    render,
    tiny_skia::{Pixmap, Transform},
    usvg::{
        FontResolver, Options, Tree,
        fontdb::{Database, Source},
    },
};

use crate::failure::Failure;

/// Pixels for each pixel of the SVG image: as dense as the screens of today.
const SCALE: f32 = 2.0;
/// Most pixels in height, so at most 63 MB of them: a higher image has fewer for each pixel of the SVG image.
const HEIGHT_MAX: f32 = 8_192.0;

/// The font: narrow letters, which fit where those of browsers do.
static FONTS: LazyLock<Arc<Database>> = LazyLock::new(|| {
    let mut fonts = Database::new();
    let faces = [dejavu::sans_condensed::regular(), dejavu::sans_condensed::bold()];
    for face in faces {
        fonts.load_font_source(Source::Binary(Arc::new(face)));
    }
    let family = fonts.faces().find_map(|face| face.families.first().map(|(name, _)| name.clone()));
    if let Some(family) = family {
        fonts.set_sans_serif_family(family);
    }
    Arc::new(fonts)
});

/// The PNG image of a chart's SVG document, in its light scheme. It blocks for a tenth of a second or so.
///
/// # Errors
/// None for what is drawn here.
pub(crate) fn png(svg: &str) -> Result<Vec<u8>, Failure> {
    // Rules for media are skipped, and so are those of the dark scheme.
    let options =
        Options { fontdb: Arc::clone(&FONTS), font_resolver: FontResolver::default(), ..Options::default() };
    let cannot = |error: &dyn std::fmt::Display| Failure::failed(format!("cannot draw the image: {error}"));
    let tree = Tree::from_str(svg, &options).map_err(|error| cannot(&error))?;
    let size = tree.size();
    let scale = SCALE.min(HEIGHT_MAX / size.height());
    let pixels = |length: f32| (length * scale).round() as u32;
    let mut map =
        Pixmap::new(pixels(size.width()), pixels(size.height())).ok_or_else(|| cannot(&"it has no size"))?;
    render(&tree, Transform::from_scale(scale, scale), &mut map.as_mut());
    map.encode_png().map_err(|error| cannot(&error))
}

#[cfg(test)]
mod tests {
    use resvg::tiny_skia::PremultipliedColorU8;

    use super::*;
    use crate::chart::svg::Svg;

    fn drawn(svg: &str) -> Pixmap {
        Pixmap::decode_png(&png(svg).unwrap()).unwrap()
    }

    fn colours(map: &Pixmap, wanted: impl Fn(PremultipliedColorU8) -> bool) -> usize {
        map.pixels().iter().filter(|pixel| wanted(**pixel)).count()
    }

    #[test]
    fn texts_are_dark_on_white_and_need_no_font_of_the_machine() {
        let map = |texts: &[&str]| {
            let mut svg = Svg::new(400.0, 60.0);
            texts.iter().for_each(|text| svg.text(10.0, 30.0, "start", "title", text));
            drawn(&svg.finish())
        };
        let empty = map(&[]);
        assert_eq!((empty.width(), empty.height()), (800, 120));
        let white = |pixel: PremultipliedColorU8| {
            [pixel.red(), pixel.green(), pixel.blue(), pixel.alpha()] == [255; 4]
        };
        assert_eq!(colours(&empty, white), 800 * 120);
        let dark = |pixel: PremultipliedColorU8| pixel.red() < 80 && pixel.alpha() == 255;
        assert!(colours(&map(&["temperature"]), dark) > 200);
        // Letters that the font has not are one and the same box.
        for (one, other, known) in [
            ("Т", "Ж", true),
            ("θ", "λ", true),
            ("ح", "ر", true),
            ("ש", "ל", true),
            ("Ա", "Բ", true),
            ("ა", "ბ", true),
            ("°", "…", true),
            ("温", "度", false),
        ] {
            let [one_map, other_map] = [one, other].map(|text| map(&[text]));
            assert!(colours(&one_map, dark) > 10, "{one}");
            assert_eq!(one_map.data() != other_map.data(), known, "{one} {other}");
        }
    }

    #[test]
    fn an_image_has_a_bounded_number_of_pixels() {
        let map = drawn(&Svg::new(960.0, 100_000.0).finish());
        assert!(map.height() == 8_192 && map.width() < 100, "{}", map.width());
    }
}
