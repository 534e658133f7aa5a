# Which object a request means: the path as it was sent, decoded once, and nothing else done to it, as S3 does. nginx
# itself takes `..`, `.` and repeated slashes out of a path, and so could not tell `x//y` from `x/y`.
package CloudexitMedia;

use strict;
use warnings;
use Digest::SHA qw(sha256_hex);
use nginx;

# The path as it was sent, without a query.
sub raw {
    my ($request) = @_;
    my ($path) = $request->variable('request') =~ m{^\S+ (/[^?\s]*)};
    return defined $path ? $path : '';
}

sub path {
    my $path = raw(@_);
    $path =~ s/%([0-9A-Fa-f]{2})/chr hex $1/ge;
    return $path;
}

# Where the object lies below /srv/media.
sub place {
    my ($request) = @_;
    my $key = $request->variable('media_key');
    return is_safe($key) ? '/' . $request->variable('media_bucket') . "/$key" : odd($request);
}

sub odd {
    my ($request) = @_;
    return '/.odd/' . $request->variable('media_bucket') . '/' . sha256_hex($request->variable('media_key'));
}

# Where an object that is written comes to lie: a folder keeps its name, as in the archive.
sub target {
    my ($request) = @_;
    my $place = place($request);
    return -d "/srv/media$place" ? odd($request) : $place;
}

# What the lists of headers call the object.
sub name {
    my ($request) = @_;
    return substr sha256_hex($request->variable('media_bucket') . '/' . $request->variable('media_key')), 0, 32;
}

# The rule of migrate/export/keymap.py: what any filesystem holds as it is.
sub is_safe {
    my ($key) = @_;
    return 0 if $key =~ m{(?:\A|/)\.{0,2}(?:/|\z)} || length $key > 1024 || $key =~ m{[^/]{256}};
    return utf8::decode($key) && $key !~ /[\x00-\x1f\x7f-\x9f\x{d800}-\x{dfff}]|[^\x{0}-\x{10ffff}]/ ? 1 : 0;
}

1;
