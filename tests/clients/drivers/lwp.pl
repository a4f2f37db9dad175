# Perl's LWP, as it is by default. See wire.py.
#
#     perl lwp.pl BASE AUTHORITY < questions > answers
use strict;
use warnings;
use Digest::SHA qw(sha256_hex);
use Encode qw(decode_utf8 encode_utf8);
use HTTP::Request;
use LWP::UserAgent;
use MIME::Base64;
use URI;

my ($base, $authority) = @ARGV;
my %settings = (timeout => 20, keep_alive => 1, ssl_opts => { SSL_ca_file => $authority });
$| = 1;

sub encode { my $text = encode_base64($_[0], ''); return $text eq '' ? '=' : $text }
sub decode { return $_[0] eq '=' ? '' : decode_base64($_[0]) }

while (my $line = <STDIN>) {
    chomp $line;
    my ($number, $method, $url, $fields, $told, $options) = split /\t/, $line;
    my $body;
    if ($told =~ /^size:(\d+)/) { $body = substr('0123456789abcdef' x ($1 / 16 + 1), 0, $1) }
    elsif ($told =~ /^b:(.*)/) { $body = decode($1) }
    my $out = eval {
        # A new agent each time would open a connection each time; LWP keeps one in each agent.
        our %agents;
        my $follows = $options =~ /follow/ ? 7 : 0;
        my $agent = $agents{$follows} //= LWP::UserAgent->new(%settings, max_redirect => $follows);
        my $request = HTTP::Request->new($method, URI->new($base . decode_utf8(decode($url))));
        for my $field (split /\n/, decode($fields)) {
            my ($name, $value) = $field =~ /^(.*?): ?(.*)$/ or next;
            $name = ":$name" if $name =~ /_/;    # Else LWP would make a hyphen of it.
            $request->push_header($name, $value);
        }
        if (defined $body) {
            # It would send the last chunk of an empty body twice, and the second before the next request.
            die "LWP has no empty bodies without a length\n" if $options =~ /chunked/ && $body eq '';
            if ($options =~ /chunked/) {
                my $rest = $body;
                $request->content(sub { my $piece = substr($rest, 0, 65536, ''); return $piece });
            }
            else {
                $request->content($body);
                $request->header('Content-Length', length $body);
            }
        }
        my $answer = $agent->request($request);
        if (($answer->header('Client-Warning') // '') eq 'Internal response') {
            return "!\t" . encode($answer->decoded_content // $answer->message);
        }
        my $text = '';
        $answer->headers->scan(sub { $text .= "$_[0]: $_[1]\n" unless $_[0] =~ /^Client-/i });
        my $read = $answer->content;
        return join "\t", $answer->code, encode($text),
            length $read > 1 << 20 ? 'sha256:' . sha256_hex($read) . ':' . length $read : encode($read);
    };
    $out = "-\t" . encode(encode_utf8("$@")) unless defined $out;
    print "$number\t$out\n";
}
