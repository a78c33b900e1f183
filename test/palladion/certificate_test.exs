defmodule Palladion.CertificateTest do
  use ExUnit.Case, async: true

  import Palladion.Test.Certificates, only: [chain: 0, chain: 1, tmp_dir: 1, openssl!: 1]

  alias Palladion.Certificate
  alias Palladion.Test.Authority

  setup :tmp_dir

  defp issue(dir, arguments) do
    file = Path.join(dir, "certificate.der")
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    key = if "-newkey" in arguments, do: ["-nodes"], else: key

    openssl!(
      ~w(req -x509 -utf8 -outform DER) ++
        key ++ ["-keyout", Path.join(dir, "key.pem"), "-out", file] ++ arguments
    )

    File.read!(file)
  end

  test "everything that a reader wants to know", %{tmp_dir: dir} do
    der =
      issue(dir, [
        "-subj",
        "/C=GR/O=Zoë, Inc./OU=a\\+b/CN=db1.example",
        "-days",
        "10",
        "-addext",
        "subjectAltName=DNS:db1.example,DNS:*.db.example,IP:10.0.0.1,IP:::1,URI:urn:x,email:a@b.c"
      ])

    certificate = Certificate.read(der)
    assert certificate.subject == ~S(CN=db1.example,OU=a\+b,O=Zoë\, Inc.,C=GR)
    assert certificate.issuer == certificate.subject
    assert certificate.self_issued?
    assert certificate.version == 3
    assert certificate.key == "ECDSA secp256r1"

    assert certificate.names == [
             dns: "db1.example",
             dns: "*.db.example",
             ip: "10.0.0.1",
             ip: "::1",
             uri: "urn:x"
           ]

    assert certificate.not_after - certificate.not_before == 10 * 86_400
    assert certificate.fingerprint == Base.encode16(:crypto.hash(:sha256, der), case: :lower)

    assert Certificate.days_left(certificate, certificate.not_before) == 10
    assert Certificate.days_left(certificate, certificate.not_after - 1) == 0
    assert Certificate.days_left(certificate, certificate.not_after + 1) == -1
  end

  test "kinds of keys", %{tmp_dir: dir} do
    assert Certificate.read(chain({:rsa, 2048, 65_537}).leaf).key == "RSA 2048"
    assert Certificate.read(chain({:namedCurve, :secp384r1}).leaf).key == "ECDSA secp384r1"
    assert %{key: "Ed25519"} = Certificate.read(issue(dir, ~w(-subj /CN=x -newkey ed25519)))
    refute Certificate.read(chain().leaf).self_issued?
  end

  test "a number of any length is a size of a key" do
    # The chain's certificate with four million bits in its key, as no server needs them.
    {:Certificate, tbs, algorithm, signature} =
      :public_key.pkix_decode_cert(chain({:rsa, 2048, 65_537}).leaf, :plain)

    {:SubjectPublicKeyInfo, rsa, _key} = elem(tbs, 7)
    # By hand, for OTP takes a minute to encode it.
    modulus = <<2, 0x83, 500_001::24, 1, 0::4_000_000>>
    key = <<0x30, 0x83, byte_size(modulus) + 3::24, modulus::binary, 2, 1, 3>>
    tbs = put_elem(tbs, 7, {:SubjectPublicKeyInfo, rsa, key})
    plain = {:Certificate, tbs, algorithm, signature}
    der = :public_key.pkix_encode(:Certificate, plain, :plain)

    reading = Task.async(fn -> Certificate.read(der) end)
    assert {:ok, read} = Task.yield(reading, 20_000) || Task.shutdown(reading, :brutal_kill)
    assert read.key == "RSA 4000001"
  end

  test "a name of a hundred kilobytes is cut", %{tmp_dir: dir} do
    long = String.duplicate("a", 20_000)
    der = issue(dir, ["-subj", "/CN=x", "-addext", "subjectAltName=URI:" <> long])
    assert [uri: uri] = Certificate.read(der).names
    assert uri == binary_part(long, 0, 1_024) <> "…"
  end

  test "years beyond 2049 have another form", %{tmp_dir: dir} do
    certificate = Certificate.read(issue(dir, ~w(-subj /CN=x -days 20000)))
    assert DateTime.from_unix!(certificate.not_after).year > 2049
    assert DateTime.from_unix!(certificate.not_before).year < 2049
  end

  test "X.509 v1, without extensions", %{tmp_dir: dir} do
    {file, _key} = dir |> Authority.create!("ca") |> Authority.issue!("old", v1: true)
    [{:Certificate, der, _}] = file |> File.read!() |> :public_key.pem_decode()
    assert %{version: 1, subject: "CN=old", names: []} = Certificate.read(der)
  end

  test "what prints nothing good is escaped", %{tmp_dir: dir} do
    certificate = Certificate.read(issue(dir, ["-subj", "/O= #x /CN=a\e[2Jb"]))
    assert certificate.subject == ~S(CN=a\1B[2Jb,O=\ #x\ )
  end

  test "broken ones have a fingerprint, and what can be read" do
    leaf = chain().leaf

    for der <- ["", "no certificate", binary_part(leaf, 0, 50)] do
      assert %{fingerprint: <<_::binary-64>>, subject: nil} = Certificate.read(der)
    end
  end

  test "no bit that is wrong breaks it" do
    leaf = chain().leaf
    size = byte_size(leaf)

    for position <- 0..(size - 1), mask <- [0x01, 0x80] do
      <<before::binary-size(position), byte, rest::binary>> = leaf
      changed = <<before::binary, Bitwise.bxor(byte, mask), rest::binary>>
      assert %Certificate{} = certificate = Certificate.read(changed)
      assert inspect(certificate)
      for text <- [certificate.subject, certificate.issuer], text, do: assert(String.valid?(text))
    end
  end
end
