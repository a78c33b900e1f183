defmodule Palladion.Config.PinsTest do
  use ExUnit.Case, async: true

  import Palladion.Test.Certificates, only: [tmp_dir: 1]

  alias Palladion.Config.Pins
  alias Palladion.Test.Certificates, as: Make

  @openssl System.find_executable("openssl") == nil and "the openssl command is not installed"

  @pin :crypto.hash(:sha256, "one")
  @other :crypto.hash(:sha256, "other")
  @hex Base.encode16(@pin)

  defp colons(hex) do
    hex |> String.codepoints() |> Enum.chunk_every(2) |> Enum.map_join(":", &Enum.join/1)
  end

  test "none is fine" do
    assert Pins.parse(nil) == {[], []}
  end

  test "bytes or hexadecimal, one or several" do
    for form <- [
          @pin,
          @hex,
          String.downcase(@hex),
          colons(@hex),
          colons(String.downcase(@hex)),
          String.to_charlist(colons(@hex))
        ] do
      assert Pins.parse(form) == {[@pin], []}
      assert Pins.parse([@other, form]) == {[@other, @pin], []}
    end

    assert Pins.parse([@pin, @hex, colons(@hex)]) == {[@pin], []}
  end

  test "a text of 64 digits is no binary of 32 bytes, nor the other way round" do
    digits = String.duplicate("a", 64)
    assert Pins.parse(digits) == {[:binary.copy(<<0xAA>>, 32)], []}
    bytes = String.duplicate("a", 31) <> "x"
    assert Pins.parse(bytes) == {[bytes], []}
  end

  @tag skip: @openssl
  test "what openssl prints is one, of the certificate as DER", context do
    %{tmp_dir: dir} = tmp_dir(context)
    certificate = Make.chain().leaf
    file = Make.write!(dir, "server.pem", Make.pem(certificate))

    {text, 0} = System.cmd("openssl", ["x509", "-in", file, "-noout", "-fingerprint", "-sha256"])

    [_, fingerprint] = Regex.run(~r/=([0-9A-F:]+)/, text)
    assert Pins.parse(fingerprint) == {[:crypto.hash(:sha256, certificate)], []}
  end

  test "what is none is told, with its place and how to get one" do
    for bad <- [
          "",
          "abc",
          @hex <> "0",
          <<1, 2, 3>>,
          Base.encode64(@pin),
          :pin,
          17,
          {:sha256, @pin}
        ] do
      assert {[], [problem]} = Pins.parse(bad)
      assert %{path: [:tls, :pinned], reason: :invalid_value} = problem
      assert problem.message =~ "openssl x509 -in FILE -noout -fingerprint -sha256"

      assert {_, [%{path: [:tls, :pinned, 1], reason: :invalid_value}]} = Pins.parse([@pin, bad])
    end

    for bad <- [[], [@pin | @other]] do
      assert {[], [%{path: [:tls, :pinned], reason: :invalid_value}]} = Pins.parse(bad)
    end
  end

  test "MD5 is no binary of 32 bytes" do
    md5 = :crypto.hash(:md5, "one")

    for text <- [Base.encode16(md5), Base.encode16(md5, case: :lower)] do
      assert {[], [problem]} = Pins.parse(text)
      assert problem.message =~ "MD5"
      assert {[@pin], [%{path: [:tls, :pinned, 1]}]} = Pins.parse([@pin, text])
    end
  end

  test "SHA-1 is told apart" do
    sha1 = colons(Base.encode16(:crypto.hash(:sha, "one")))
    assert {[], [problem]} = Pins.parse(sha1)
    assert problem.message =~ "SHA-1"
  end
end
